package consul

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
)

func (f *face) agentServices(q *request) error {
	services := []agentService{}
	for _, s := range f.ofNode(q, nodeOf(q).name) {
		service := q.withNamespace(s.entry).Service
		service.Datacenter = f.Datacenter
		services = append(services, service)
	}
	services, err := filter(q, services)
	if err != nil {
		return err
	}
	byID := map[string]agentService{}
	for _, s := range services {
		byID[s.ID] = s
	}
	return q.json(byID)
}

// agentService blocks on the hash of the service, not on an index.
func (f *face) agentService(q *request) error {
	now := func() (agentService, bool) {
		found, live := f.find(q, nodeOf(q), q.id)
		if !live {
			return agentService{}, false
		}
		i, live := f.shownNow(found.key)
		if !live || !q.readsService(found.key.ServiceKey()) {
			return agentService{}, false
		}
		s := q.withNamespace(i.entry).Service
		s.Datacenter = f.Datacenter
		s.ContentHash = contentHash(s)
		return s, true
	}
	service, ok := now()
	if hash := q.query.Get("hash"); ok && hash != "" && hash == service.ContentHash {
		err := f.await(q, func() bool {
			service, ok = now()
			return !ok || service.ContentHash != hash
		}, serviceKey(q.namespace, service.Service))
		if err != nil {
			return err
		}
	}
	if !ok {
		return failure{http.StatusNotFound, "unknown service ID: " + q.id}
	}
	q.Response().Header().Set("X-Consul-ContentHash", service.ContentHash)
	return q.json(service)
}

// checksInfo is the health of one service at a node.
type checksInfo struct {
	AggregatedStatus string
	Service          *agentService // nil: there is none
	Checks           []healthCheck
}

func (f *face) healthOfID(q *request) error {
	if found, live := f.find(q, nodeOf(q), q.id); live && q.readsService(found.key.ServiceKey()) {
		if s, live := f.shownNow(found.key); live {
			info := infoOf(q, s)
			return f.answerHealth(q, info.AggregatedStatus, codeOf(info.AggregatedStatus), info)
		}
	}
	return f.answerHealth(q, "ServiceId "+q.id+" not found", http.StatusNotFound, checksInfo{AggregatedStatus: critical, Checks: []healthCheck{}})
}

func (f *face) healthOfName(q *request) error {
	infos := []checksInfo{}
	worst := ""
	for _, s := range f.ofNode(q, nodeOf(q).name) {
		if strings.EqualFold(s.key.Service, q.id) {
			info := infoOf(q, s)
			infos = append(infos, info)
			if worst == "" || codeOf(info.AggregatedStatus) > codeOf(worst) || info.AggregatedStatus == maintenance {
				worst = info.AggregatedStatus
			}
		}
	}
	if len(infos) == 0 {
		return f.answerHealth(q, "ServiceName "+q.id+" Not Found", http.StatusNotFound, infos)
	}
	return f.answerHealth(q, worst, codeOf(worst), infos)
}

func infoOf(q *request, s shown) checksInfo {
	e := q.withNamespace(s.entry)
	return checksInfo{aggregate(e.Checks), &e.Service, e.Checks}
}

func codeOf(status string) int {
	switch status {
	case passing:
		return http.StatusOK
	case warning:
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// answerHealth answers with a code and its reason, which is all of the text for a client that asks for text.
func (f *face) answerHealth(q *request, reason string, code int, body any) error {
	q.Response().Header().Set("X-Consul-Reason", strings.ToValidUTF8(domain.CleanOutput(reason), ""))
	if q.query.Get("format") == "text" || strings.Contains(q.Request().Header.Get("Accept"), "text/plain") {
		return text(q, code, reason)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return q.send(code, encoded)
}

func (f *face) self(q *request) error {
	member := f.member()
	return q.json(map[string]any{
		"Config": map[string]any{
			"Datacenter": f.Datacenter, "PrimaryDatacenter": f.Datacenter, "NodeName": f.NodeName, "NodeID": f.NodeID, "Server": true, "Revision": "", "Version": Level,
			"Product": "rollcall " + f.Version,
		},
		"DebugConfig": map[string]any{}, "Coord": map[string]any{}, "Member": member, "Meta": map[string]any{}, "Stats": map[string]any{},
	})
}

// member is a registry among agents.
type member struct {
	Name, Addr                                                                   string
	Port                                                                         uint16
	Tags                                                                         map[string]string
	Status                                                                       int // 1: alive
	ProtocolMin, ProtocolMax, ProtocolCur, DelegateMin, DelegateMax, DelegateCur uint8
}

func (f *face) member() member {
	return member{
		Name: f.NodeName, Addr: f.Address, Port: 8301, Tags: map[string]string{"role": "consul", "dc": f.Datacenter, "id": f.NodeID, "build": Level, "product": "rollcall"}, Status: 1,
		ProtocolMin: 1, ProtocolMax: 2, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4,
	}
}

func (f *face) version(q *request) error {
	return q.json(map[string]any{"HumanVersion": Level, "SHA": "", "BuildDate": "", "FIPS": "", "Product": "rollcall " + f.Version})
}

func (f *face) members(q *request) error {
	members, err := filter(q, []member{f.member()})
	if err != nil {
		return err
	}
	return q.json(members)
}

// leader is a server that takes commands; "" while none does.
func (f *face) leader(q *request) error {
	if f.Ready() != nil {
		return q.json("")
	}
	return q.json(f.Address + ":8300")
}

func (f *face) peers(q *request) error { return q.json([]string{f.Address + ":8300"}) }

// keyValue answers that there is no such key: readers block for one, and writers are refused. A write that seems to work
// would be dangerous.
func (f *face) keyValue(q *request) error {
	if q.Request().Method != http.MethodGet && q.Request().Method != http.MethodHead {
		return refuse("Rollcall keeps no keys and values: use a store for configuration")(f, q)
	}
	index, err := f.block(q, func() uint64 { return f.floor })
	if err != nil {
		return err
	}
	f.headers(q, index)
	return q.NoContent(http.StatusNotFound)
}
