package consul_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/consul"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/policies"
)

// checks are the checks of a list, as "id=status service".
func (r *rig) checks(path string) string {
	r.t.Helper()
	var list []struct{ CheckID, Status, ServiceID string }
	r.get(path, &list)
	var all []string
	for _, c := range list {
		all = append(all, strings.TrimSpace(c.CheckID+"="+c.Status+" "+c.ServiceID))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// native is an instance as every other face sees it.
func (r *rig) native(service, id string) domain.Instance {
	r.t.Helper()
	entry := r.live.Catalog().Find(domain.Key{Namespace: "default", Service: service, ID: id})
	if entry == nil {
		r.t.Fatalf("%s/%s is not live", service, id)
	}
	return entry.Instance()
}

func TestACheckOfANodeCountsForAllItsServices(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"1h","Status":"passing"}}`)
	r.put("/v1/catalog/register", `{"Node":"other","Address":"10.0.0.2","Service":{"Service":"web","ID":"w2","Port":80}}`)
	if got, want := r.says("/v1/health/service/web?passing"), "w2 ; web service:web=passing"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	r.put("/v1/agent/check/register", `{"Name":"disk","TTL":"1h","Notes":"of the node","DeregisterCriticalServiceAfter":"1m"}`)
	if got, want := r.says("/v1/health/service/web"), "w2 ; web disk=critical,service:web=passing"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := r.says("/v1/health/service/web?passing"), "w2 "; got != want {
		t.Errorf("passing: %s, want %s", got, want)
	}
	if got := r.send("GET", "/v1/agent/health/service/id/web?format=text", ""); got.StatusCode != 503 || got.body != "critical" {
		t.Errorf("the health is %d %s", got.StatusCode, got.body)
	}
	r.put("/v1/agent/check/pass/disk", "")
	if got, want := r.says("/v1/health/service/web?passing"), "w2 ; web disk=passing,service:web=passing"; got != want {
		t.Errorf("passing: %s, want %s", got, want)
	}
	r.put("/v1/agent/service/register", `{"Name":"late","Port":81}`)
	r.put("/v1/agent/check/warn/disk?note=full", "")
	if got, want := r.says("/v1/health/service/late"), "late disk=warning"; got != want {
		t.Errorf("of a service that came later: %s, want %s", got, want)
	}
	for path, want := range map[string]string{
		"/v1/health/state/any": "disk=warning, service:web=passing web", "/v1/health/state/warning": "disk=warning", "/v1/health/checks/web": "service:web=passing web",
		"/v1/health/node/ip-127-0-0-1": "disk=warning, service:web=passing web", "/v1/health/node/other": "",
	} {
		if got := r.checks(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	var agent map[string]struct{ Status, Output, ServiceID string }
	r.get("/v1/agent/checks", &agent)
	if len(agent) != 2 || agent["disk"].Status != "warning" || agent["disk"].Output != "full" || agent["disk"].ServiceID != "" {
		t.Errorf("the agent's checks are %+v", agent)
	}
	// The service under which nodes are kept is none of Consul's.
	for _, path := range []string{"/v1/catalog/services", "/v1/agent/services", "/v1/health/service/consul-node", "/v1/catalog/service/consul-node"} {
		if got := r.send("GET", path, ""); strings.Contains(got.body, "consul-node") || strings.Contains(got.body, "disk") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	if got := r.send("PUT", "/v1/agent/service/register", `{"Name":"consul-node"}`); got.StatusCode != 400 {
		t.Errorf("the nodes' service was registered: %d %s", got.StatusCode, got.body)
	}
	// A check of a node never removes what is at it.
	if checks := r.native("consul-node", "ip-127-0-0-1").Details.Checks; len(checks) != 1 || checks[0].RemoveAfter != 0 {
		t.Errorf("the node's checks are %+v", checks)
	}
	result := r.commands.Do(t.Context(), commands.Caller{Actor: "test"}, commands.Request{Command: domain.LapseCheck{Key: domain.Key{Namespace: "default", Service: "consul-node", ID: "ip-127-0-0-1"}, Epoch: 1, Check: "disk", Revision: 1}})
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if got, want := r.says("/v1/health/service/late"), "late disk=critical"; got != want {
		t.Errorf("after the check lapsed: %s, want %s", got, want)
	}
	r.put("/v1/agent/check/deregister/disk", "")
	if got, want := r.says("/v1/health/service/web?passing"), "w2 ; web service:web=passing"; got != want {
		t.Errorf("without the check: %s, want %s", got, want)
	}
}

func TestWhatTheCatalogIsToldOfANodeIsKept(t *testing.T) {
	r := start(t)
	r.put("/v1/catalog/register", `{"Node":"alone","Address":"10.0.0.9","ID":"40e4a748-2192-161a-0510-9bf59fe950b5","NodeMeta":{"rack":"7"}}`)
	var nodes []struct {
		ID, Node, Address string
		Meta              map[string]string
	}
	r.get("/v1/catalog/nodes?node-meta=rack:7", &nodes)
	if len(nodes) != 1 || nodes[0].Node != "alone" || nodes[0].Address != "10.0.0.9" || nodes[0].ID != "40e4a748-2192-161a-0510-9bf59fe950b5" {
		t.Fatalf("the nodes are %+v", nodes)
	}
	if got := r.send("GET", "/v1/catalog/node/alone", ""); !strings.Contains(got.body, `"Services":{}`) || !strings.Contains(got.body, `"rack":"7"`) {
		t.Errorf("the node is %s", got.body)
	}
	register := func(body string) {
		t.Helper()
		r.put("/v1/catalog/register", `{"Node":"alone","Address":"10.0.0.9","NodeMeta":{"rack":"8"},`+body+`}`)
	}
	register(`"Service":{"ID":"db1","Service":"db","Port":5432},"Checks":[{"CheckID":"ping","Name":"Ping","Status":"passing","Output":"pong","ServiceID":"db1"},{"CheckID":"host","Status":"passing"}]`)
	var entries []entry
	r.get("/v1/health/service/db?passing", &entries)
	if len(entries) != 1 || len(entries[0].Checks) != 2 || entries[0].Node.Meta["rack"] != "8" {
		t.Fatalf("the instances are %+v", entries)
	}
	if host, ping := entries[0].Checks[0], entries[0].Checks[1]; host.CheckID != "host" || host.ServiceID != "" || ping.CheckID != "ping" || ping.Name != "Ping" || ping.Output != "pong" || ping.ServiceID != "db1" {
		t.Errorf("the checks are %+v", entries[0].Checks)
	}
	register(`"Service":{"ID":"db1","Service":"db","Port":5433}`) // leaves the checks as they are
	register(`"Check":{"CheckID":"ping","Status":"warning","ServiceID":"db1"}`)
	if got, want := r.says("/v1/health/service/db"), "db1 host=passing,ping=warning"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if i := r.native("db", "db1"); i.Status != domain.Warning || i.Details.Ports["default"] != 5433 {
		t.Errorf("other faces see %s %v", i.Status, i.Details.Ports)
	}
	register(`"Check":{"CheckID":"host","Status":"critical"}`)
	if got, want := r.says("/v1/health/service/db"), "db1 host=critical,ping=warning"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.put("/v1/catalog/deregister", `{"Node":"alone","CheckID":"host"}`)
	r.put("/v1/catalog/deregister", `{"Node":"alone","ServiceID":"db1","CheckID":"ping"}`)
	if got, want := r.says("/v1/health/service/db?passing"), "db1 "; got != want {
		t.Errorf("without checks: %s, want %s", got, want)
	}
	if got := r.send("PUT", "/v1/catalog/register", `{"Node":"alone","Address":"10.0.0.9","Check":{"CheckID":"x","Status":"passing","ServiceID":"nobody"}}`); got.StatusCode != 500 || !strings.HasPrefix(got.body, "Missing service registration") {
		t.Errorf("a check of a service that is not there: %d %s", got.StatusCode, got.body)
	}
	r.put("/v1/catalog/deregister", `{"Node":"alone"}`)
	if got := r.send("GET", "/v1/catalog/nodes", ""); got.body != "[]" {
		t.Errorf("the nodes are %s", got.body)
	}
	if got := r.says("/v1/health/service/db"); got != "" {
		t.Errorf("the services of a node that is gone are %s", got)
	}
}

func TestTheMaintenanceOfANodeCoversWhatComesLater(t *testing.T) {
	r := start(t)
	register := func(id string) {
		t.Helper()
		r.put("/v1/agent/service/register", `{"ID":"`+id+`","Name":"web","Port":80}`)
	}
	traffic := func(want string) {
		t.Helper()
		var all []string
		for _, id := range []string{"a", "b", "c"} {
			if entry := r.live.Catalog().Find(domain.Key{Namespace: "default", Service: "web", ID: id}); entry != nil {
				all = append(all, id+" "+string(entry.Traffic()))
			}
		}
		if got := strings.Join(all, ", "); got != want {
			t.Errorf("other faces see %s, want %s", got, want)
		}
	}
	register("a")
	register("b")
	r.put("/v1/agent/service/maintenance/b?enable=true&reason=own", "")
	r.put("/v1/agent/maintenance?enable=true&reason=broken+fan", "")
	register("c")
	if got, want := r.says("/v1/health/service/web"), "a _node_maintenance=critical; b _node_maintenance=critical,_service_maintenance:b=critical; c _node_maintenance=critical"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	traffic("a maintenance, b maintenance, c maintenance")
	if m := r.native("web", "c").Maintenance; m == nil || !strings.Contains(m.Reason, "the node is in maintenance") || !strings.HasSuffix(m.Reason, "broken fan") {
		t.Errorf("the reason is %+v", m)
	}
	var checks []struct{ CheckID, Name, Notes, Type, ServiceID string }
	r.get("/v1/health/node/ip-127-0-0-1", &checks)
	if len(checks) != 2 || checks[0].CheckID != "_node_maintenance" || checks[0].Name != "Node Maintenance Mode" || checks[0].Notes != "broken fan" || checks[0].ServiceID != "" {
		t.Errorf("the node's checks are %+v", checks)
	}
	if got := r.send("GET", "/v1/agent/health/service/id/c?format=text", ""); got.StatusCode != 503 || got.body != "maintenance" {
		t.Errorf("the health is %d %s", got.StatusCode, got.body)
	}
	// A service that is put into maintenance meanwhile stays there, and one that was is not resumed by its own end.
	r.put("/v1/agent/service/maintenance/a?enable=true", "")
	r.put("/v1/agent/service/maintenance/b?enable=false", "")
	traffic("a maintenance, b maintenance, c maintenance")
	r.put("/v1/agent/service/deregister/c", "")
	r.put("/v1/agent/maintenance?enable=false", "")
	traffic("a maintenance, b serving")
	register("c") // its epoch before was in maintenance with its node
	traffic("a maintenance, b serving, c serving")
	if got, want := r.says("/v1/health/service/web"), "a _service_maintenance:a=critical; b ; c "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.put("/v1/agent/maintenance?enable=false", "") // again
	traffic("a maintenance, b serving, c serving")
}

func TestANodeMovesTheIndexOfItsServicesOnly(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"here","Port":80}`)
	r.put("/v1/catalog/register", `{"Node":"far","Address":"10.0.0.2","Service":{"Service":"there","Port":80}}`)
	last := map[string]uint64{}
	step := func(what string, moved ...string) {
		t.Helper()
		for _, name := range []string{"here", "there"} {
			var entries []entry
			index := r.get("/v1/health/service/"+name, &entries)
			if before, asked := last[name]; asked && (index > before) != slices.Contains(moved, name) {
				t.Errorf("after %s the index of %s went from %d to %d", what, name, before, index)
			}
			last[name] = index
		}
	}
	step("nothing")
	r.put("/v1/agent/check/register", `{"Name":"disk","TTL":"1h"}`)
	step("a check of the node", "here")
	r.put("/v1/agent/check/pass/disk", "")
	step("another status", "here")
	r.put("/v1/agent/check/pass/disk", "")
	step("the same status")
	r.put("/v1/catalog/register", `{"Node":"far","Address":"10.0.0.2","Check":{"CheckID":"host","Status":"passing"}}`)
	step("a check of the other node", "there")
	r.put("/v1/agent/check/warn/disk", "")
	step("a warning", "here")
	r.put("/v1/agent/check/deregister/disk", "")
	step("the end of the check", "here")
	// Whoever removes a node by another face moves the index, too.
	for _, gone := range []struct{ node, service string }{{"ip-127-0-0-1", "here"}, {"far", "there"}} {
		result := r.commands.Do(t.Context(), commands.Caller{Actor: "test"}, commands.Request{Command: domain.DeregisterInstance{Key: domain.Key{Namespace: "default", Service: "consul-node", ID: gone.node}}})
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		step("the end of the node "+gone.node, gone.service)
	}
	r.put("/v1/agent/check/register", `{"Name":"disk","TTL":"1h"}`)
	step("a check once more", "here")

	blocked := make(chan uint64, 1)
	go func() {
		index := uint64(0)
		fmt.Sscan(r.send("GET", fmt.Sprintf("/v1/health/service/here?index=%d&wait=10m", last["here"]), "").Header.Get("X-Consul-Index"), &index)
		blocked <- index
	}()
	r.put("/v1/agent/check/pass/disk", "")
	select {
	case index := <-blocked:
		if index <= last["here"] {
			t.Errorf("the index went from %d to %d", last["here"], index)
		}
	case <-time.After(30 * time.Second):
		t.Error("a change of the node wakes nobody")
	}
}

func TestIndexesSayWhenAnInstanceBeganAndChanged(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"1h"}}`)
	type indexes struct{ CreateIndex, ModifyIndex uint64 }
	look := func() (service, check, row, node indexes) {
		t.Helper()
		var entries []struct {
			Service indexes
			Checks  []indexes
		}
		var rows, nodes []indexes
		r.get("/v1/health/service/web", &entries)
		r.get("/v1/catalog/service/web", &rows)
		r.get("/v1/catalog/nodes", &nodes)
		return entries[0].Service, entries[0].Checks[0], rows[0], nodes[0]
	}
	began, _, _, _ := look()
	if began.CreateIndex == 0 || began.CreateIndex != began.ModifyIndex {
		t.Errorf("after the registration: %+v", began)
	}
	r.put("/v1/agent/check/pass/service:web", "")
	r.put("/v1/agent/service/register", `{"Name":"web","Port":81,"Check":{"TTL":"1h"}}`)
	service, check, row, node := look()
	for what, got := range map[string]indexes{"service": service, "check": check, "row": row, "node": node} {
		if got.CreateIndex != began.CreateIndex || got.ModifyIndex <= began.ModifyIndex {
			t.Errorf("the %s after changes: %+v, began as %+v", what, got, began)
		}
	}
	r.put("/v1/agent/service/deregister/web", "")
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"1h"}}`)
	if again, _, _, _ := look(); again.CreateIndex <= service.ModifyIndex {
		t.Errorf("the next registration: %+v", again)
	}
}

func TestRepliesOfEqualRightsAndFiltersAreEqual(t *testing.T) {
	r, root, pay := startGuarded(t)
	for range 3 {
		for _, path := range []string{"/v1/health/state/any?filter=Status==critical", "/v1/catalog/services", "/v1/catalog/nodes", "/v1/health/service/pay-in?filter=Service.Port==80&pretty"} {
			whole, part := r.send("GET", path, "", root...), r.send("GET", path, "", pay...)
			if strings.Contains(part.body, "hidden") || !json.Valid([]byte(part.body)) || !json.Valid([]byte(whole.body)) {
				t.Errorf("%s: %s and %s", path, whole.body, part.body)
			}
			if strings.HasPrefix(path, "/v1/health/state") && !strings.Contains(whole.body, "hidden") {
				t.Errorf("%s leaves out what the caller may see: %s", path, whole.body)
			}
		}
	}
	for path, want := range map[string]bool{"/v1/health/service/pay-in?filter=Service.Port==80": true, "/v1/health/service/pay-in?filter=Service.Port==81": false, "/v1/health/service/pay-in?tag=x": false, "/v1/health/service/pay-in?ns=default": true} {
		got := r.send("GET", path, "", root...)
		if strings.Contains(got.body, "pay-in") != want {
			t.Errorf("%s: %s", path, got.body)
		}
		if named := strings.Contains(got.body, `"Namespace":"default"`); named != strings.Contains(path, "ns=") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}

// Whoever may change its own instances only puts no node into maintenance: others' instances may be at it.
func TestANodeIsChangedByThoseWhoMay(t *testing.T) {
	r, root, pay := startGuarded(t)
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/agent/maintenance?enable=true", ""}, {"PUT", "/v1/agent/maintenance?enable=false", ""}, {"PUT", "/v1/agent/check/register", `{"Name":"disk","TTL":"1h"}`},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1"}`},
	} {
		if got := r.send(c.method, c.path, c.body, pay...); got.StatusCode != 403 {
			t.Errorf("%s: %d %s", c.path, got.StatusCode, got.body)
		}
	}
	own := r.token("own", domain.TokenSpec{Roles: []string{"service"}})
	if got := r.send("PUT", "/v1/agent/check/register", `{"Name":"mine","TTL":"1h","Status":"passing"}`, own...); got.StatusCode != 200 {
		t.Errorf("a check of a node: %d %s", got.StatusCode, got.body)
	}
	if got := r.send("PUT", "/v1/agent/maintenance?enable=true", "", own...); got.StatusCode != 403 {
		t.Errorf("maintenance: %d %s", got.StatusCode, got.body)
	}
	if i := r.native("hidden", "hidden-1"); i.Traffic != domain.Serving {
		t.Errorf("another's instance is in %s", i.Traffic)
	}
	// Who sees a service sees the checks of its node, though it may not read nodes by themselves.
	if got := r.send("GET", "/v1/health/service/pay-in", "", pay...); !strings.Contains(got.body, `"CheckID":"mine"`) {
		t.Errorf("the health is %s", got.body)
	}
	if got := r.send("PUT", "/v1/agent/maintenance?enable=true&reason=fan", "", root...); got.StatusCode != 200 {
		t.Fatal(got.StatusCode, got.body)
	}
	if i := r.native("hidden", "hidden-1"); i.Traffic != domain.Maintenance || i.Maintenance.By != "root" {
		t.Errorf("the instance is in %s by %+v", i.Traffic, i.Maintenance)
	}
	if got := r.send("PUT", "/v1/agent/service/register", `{"Name":"pay-late","Port":80}`, pay...); got.StatusCode != 200 {
		t.Fatal(got.StatusCode, got.body)
	}
	if i := r.native("pay-late", "pay-late"); i.Traffic != domain.Maintenance || !strings.Contains(i.Maintenance.Reason, "(root): fan") {
		t.Errorf("what came later is in %s by %+v", i.Traffic, i.Maintenance)
	}
}

// startWithMinReady is a registry with the policy keep, by which each service keeps so many ready instances.
func startWithMinReady(t *testing.T, least domain.Amount) *rig {
	t.Helper()
	return start(t, func(c *consul.Config) {
		guarded, err := policies.Open(t.Context(), c.Queries.Store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		event, _, err := guarded.Decide(domain.SetPolicy{Name: "keep", Spec: domain.PolicySpec{MinReady: least}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := domain.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Queries.Store.Append(t.Context(), nil, eventstore.AppendRequest{
			Stream: eventstore.PolicyStream, Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: []byte(`{"actor":"ann","schema":2}`)}},
		}); err != nil {
			t.Fatal(err)
		}
		if guarded, err = policies.Open(t.Context(), c.Queries.Store, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		c.Commands.Guard = &commands.Guard{Policies: guarded, Now: time.Now}
	})
}

// A policy that keeps an instance in traffic keeps its node out of maintenance, and so all that is at the node.
func TestAPolicyKeepsANodeOutOfMaintenance(t *testing.T) {
	r := startWithMinReady(t, "1")
	register := func(node, id string) {
		t.Helper()
		r.put("/v1/catalog/register", `{"Node":"`+node+`","Address":"10.0.0.1","Service":{"ID":"`+id+`","Service":"web","Port":80}}`)
	}
	register("ip-127-0-0-1", "a")
	register("ip-127-0-0-1", "b")
	if got := r.send("PUT", "/v1/agent/maintenance?enable=true", ""); got.StatusCode/100 != 4 || !strings.Contains(got.body, "keep") {
		t.Errorf("maintenance of the only node: %d %s", got.StatusCode, got.body)
	}
	if a, b := r.native("web", "a").Traffic, r.native("web", "b").Traffic; a != domain.Serving || b != domain.Serving {
		t.Errorf("afterwards the instances are %s and %s", a, b)
	}
	if got, want := r.says("/v1/health/service/web?passing"), "a ; b "; got != want {
		t.Errorf("passing: %s, want %s", got, want)
	}
	register("another", "c")
	r.put("/v1/agent/maintenance?enable=true", "")
	if got, want := r.says("/v1/health/service/web?passing"), "c "; got != want {
		t.Errorf("passing: %s, want %s", got, want)
	}
	r.put("/v1/catalog/deregister", `{"Node":"ip-127-0-0-1"}`)
	if got, want := r.says("/v1/health/service/web"), "c "; got != want {
		t.Errorf("without the node: %s, want %s", got, want)
	}
}

// Policies guard against others than the instance itself. A client of Consul speaks for the services of its machine.
func TestAClientDeregistersWhatItsMachineRegisteredPastPolicies(t *testing.T) {
	r := startWithMinReady(t, "2")
	for _, id := range []string{"a", "b"} {
		r.put("/v1/agent/service/register", `{"ID":"`+id+`","Name":"web","Port":80}`)
		r.put("/v1/catalog/register", `{"Node":"another","Address":"10.0.0.1","Service":{"ID":"other-`+id+`","Service":"db","Port":80}}`)
	}
	for _, route := range []string{"/v1/agent/service/deregister/other-a", "/v1/agent/service/maintenance/a?enable=true"} {
		if got := r.send("PUT", route, ""); got.StatusCode != 409 || !strings.Contains(got.body, "keep") {
			t.Errorf("%s of another's: %d %s", route, got.StatusCode, got.body)
		}
	}
	if got := r.send("PUT", "/v1/catalog/deregister", `{"Node":"another","ServiceID":"other-a"}`); got.StatusCode != 409 {
		t.Errorf("from the catalog: %d %s", got.StatusCode, got.body)
	}
	r.put("/v1/agent/service/deregister/a", "")
	if got, want := r.says("/v1/health/service/web"), "b "; got != want {
		t.Errorf("afterwards there are %s, want %s", got, want)
	}
	r.put("/v1/agent/service/register", `{"ID":"b","Name":"site","Port":80}`) // the old name ends with that
	if got, want := r.says("/v1/health/service/web")+"/"+r.says("/v1/health/service/site"), "/b "; got != want {
		t.Errorf("under the new name there are %s, want %s", got, want)
	}
}

// Consul writes all of a registration, or nothing.
func TestARegistrationOfTheCatalogThatIsRefusedWritesNothing(t *testing.T) {
	r := start(t)
	r.put("/v1/catalog/register", `{"Node":"kept","Address":"10.0.0.9","Service":{"Service":"db","Port":1},"Check":{"CheckID":"host","Status":"passing"}}`)
	long := strings.Repeat("x", 9000)
	all := func() (all string) {
		for _, path := range []string{"/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/db", "/v1/catalog/service/web", "/v1/health/state/any"} {
			got := r.send("GET", path, "")
			all += path + " " + got.Header.Get("X-Consul-Index") + " " + got.body + "\n"
		}
		return all
	}
	before := all()
	for name, rest := range map[string]string{
		"a service without a name":          `"Service":{"Port":1},"Check":{"CheckID":"other","Status":"passing"}`,
		"a service of a name that is none":  `"Service":{"Service":"-","Port":1},"Check":{"CheckID":"other","Status":"passing"}`,
		"a service of the nodes' name":      `"Service":{"Service":"consul-node","Port":1},"Check":{"CheckID":"other","Status":"passing"}`,
		"a port that is none":               `"Service":{"Service":"web","Port":70000},"Check":{"CheckID":"other","Status":"passing"}`,
		"an address that is none":           `"Service":{"Service":"web","Address":"a b"},"Check":{"CheckID":"other","Status":"passing"}`,
		"a check that is too long":          `"Service":{"Service":"web","Port":1},"Checks":[{"CheckID":"other","Status":"passing"},{"CheckID":"` + long + `","ServiceID":"web","Status":"passing"}]`,
		"a check that is too long, of db":   `"Service":{"Service":"web","Port":1},"Check":{"CheckID":"` + long + `","ServiceID":"db","Status":"passing"}`,
		"a check of nobody":                 `"Service":{"Service":"web","Port":1},"Check":{"CheckID":"c","ServiceID":"nobody","Status":"passing"}`,
		"a check of nobody, one of db":      `"Checks":[{"CheckID":"c","ServiceID":"db","Status":"critical"},{"CheckID":"c","ServiceID":"nobody","Status":"passing"}]`,
		"a check of nobody, one of a node":  `"Checks":[{"CheckID":"other","Status":"critical"},{"CheckID":"c","ServiceID":"nobody","Status":"passing"}]`,
		"a status that is none":             `"Service":{"Service":"web","Port":1},"Check":{"CheckID":"c","ServiceID":"web","Status":"fine"}`,
		"a check of the node, and too long": `"Service":{"Service":"web","Port":1},"Check":{"CheckID":"` + long + `","Status":"passing"}`,
	} {
		for _, node := range []string{"kept", "fresh"} {
			if got := r.send("PUT", "/v1/catalog/register", `{"Node":"`+node+`","Address":"10.0.0.7",`+rest+`}`); got.StatusCode < 400 {
				t.Errorf("%s at %s gave %s", name, node, got.Status)
			}
			if after := all(); after != before {
				t.Fatalf("%s at %s wrote:\n%s\nbefore:\n%s", name, node, after, before)
			}
		}
	}
	r.put("/v1/catalog/register", `{"Node":"kept","Address":"10.0.0.9","Service":{"Service":"web","Port":1},"Checks":[{"CheckID":"c","ServiceID":"web","Status":"passing"},{"CheckID":"c","ServiceID":"db","Status":"passing"}]}`)
}

func TestANodeNeedsNoAddressWhereItIsNotToBeUpdated(t *testing.T) {
	r := start(t)
	r.put("/v1/catalog/register", `{"Node":"kept","Address":"10.0.0.9"}`)
	r.put("/v1/catalog/register", `{"Node":"carried","Address":"10.0.0.8","Service":{"Service":"db","Port":1}}`)
	for node, want := range map[string]string{"kept": "10.0.0.9", "carried": "10.0.0.8"} {
		r.put("/v1/catalog/register", `{"Node":"`+node+`","SkipNodeUpdate":true,"Service":{"ID":"cache-`+node+`","Service":"cache-`+node+`","Port":2}}`)
		var entries []entry
		r.get("/v1/health/service/cache-"+node, &entries)
		if len(entries) != 1 || entries[0].Node.Address != want || entries[0].Node.Node != node {
			t.Errorf("at %s: %+v", node, entries)
		}
	}
}

func TestAddedChecksShowTheirDefinitions(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	r.put("/v1/agent/check/register", `{"ID":"beat","Name":"Beat","TTL":"20s","ServiceID":"web","DeregisterCriticalServiceAfter":"2m"}`)
	r.put("/v1/agent/check/register", `{"ID":"look","Name":"Look","TCP":"127.0.0.1:1","Interval":"1h","Timeout":"2s","ServiceID":"web"}`)
	r.put("/v1/agent/check/register", `{"ID":"disk","Name":"Disk","TTL":"40s"}`)
	var checks map[string]struct {
		Type, Interval, Timeout string
		Definition              map[string]string
	}
	r.get("/v1/agent/checks", &checks)
	beat, look, disk := checks["beat"], checks["look"], checks["disk"]
	if beat.Type != "ttl" || beat.Definition["TTL"] != "20s" || beat.Definition["DeregisterCriticalServiceAfter"] != "2m0s" || disk.Definition["TTL"] != "40s" {
		t.Errorf("the ttl checks are %+v and %+v", beat, disk)
	}
	if look.Type != "tcp" || look.Interval != "1h0m0s" || look.Timeout != "2s" || look.Definition["TCP"] != "127.0.0.1:1" || look.Definition["Interval"] != "1h0m0s" {
		t.Errorf("the tcp check is %+v", look)
	}
}

// The catalog's bodies name the namespace of what they name, as those of agents do.
func TestTheCatalogTakesTheNamespaceOfABody(t *testing.T) {
	r := start(t)
	r.put("/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Service":{"Service":"web","Port":1,"Namespace":"team","Partition":"default"},"Check":{"Name":"c","Status":"passing","ServiceID":"web","Namespace":"team"}}`)
	if got := r.says("/v1/health/service/web?ns=team"); got != "web c=passing" {
		t.Errorf("the namespace has %q", got)
	}
	if got := r.says("/v1/health/service/web"); got != "" {
		t.Errorf("the default namespace has %q", got)
	}
	r.put("/v1/catalog/deregister", `{"Node":"n"}`)
	if got := r.says("/v1/health/service/web?ns=team"); got == "" {
		t.Error("a deregistration in the default namespace reached another one")
	}
	r.put("/v1/catalog/deregister", `{"Node":"N","Namespace":"team"}`) // names of nodes count without regard to case
	if got := r.says("/v1/health/service/web?ns=team"); got != "" {
		t.Errorf("afterwards the namespace has %q", got)
	}
	for _, node := range []string{"n", "N", "x"} {
		r.put("/v1/catalog/register", fmt.Sprintf(`{"Node":%q,"Address":"10.0.0.1","Service":{"Service":"web","ID":"at-%s","Port":1}}`, node, node))
	}
	r.put("/v1/catalog/deregister", `{"Node":"X"}`)
	r.put("/v1/catalog/deregister", `{"Node":"N","ServiceID":"at-n"}`)
	if got := r.says("/v1/health/service/web"); got != "at-N " {
		t.Errorf("of the nodes n and x there is %q, want what N registered at n", got)
	}
	if reply := r.send("GET", "/v1/health/service/web", "", "X-Consul-Partition", "x"); reply.StatusCode != 400 {
		t.Errorf("a partition in a header gives %d", reply.StatusCode)
	}
}

// Earlier releases made other nodes of other letters: a node of the very name goes before others.
func TestANodeOfTheVeryNameGoesBeforeOneInOtherLetters(t *testing.T) {
	r := start(t)
	for _, node := range []string{"n", "N"} {
		details := domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL, Origin: domain.Origin(fmt.Sprintf(`{"consul":{"node":%q,"node_address":"10.0.0.1"}}`, node))}
		result := r.commands.Do(t.Context(), commands.Caller{Actor: "test"}, commands.Request{Command: domain.RegisterInstance{Key: domain.Key{Namespace: "default", Service: "web", ID: "at-" + node}, Details: details}})
		if result.Err != nil {
			t.Fatal(result.Err)
		}
	}
	r.put("/v1/catalog/register", `{"Node":"N","Address":"10.0.0.1","Service":{"ID":"other","Service":"web"}}`)
	r.put("/v1/catalog/deregister", `{"Node":"N"}`)
	if got := r.says("/v1/health/service/web"); got != "at-n " {
		t.Errorf("there is %q, want what is at n", got)
	}
}

// A node's addresses under tags come back as they were sent, of a node that is kept and of one that is known by its services.
func TestANodesTaggedAddressesComeBack(t *testing.T) {
	r := start(t)
	const tagged = `"TaggedAddresses":{"lan":"10.0.0.1","wan":"198.51.100.1","wan_ipv4":"198.51.100.1"}`
	r.put("/v1/catalog/register", `{"Node":"kept","Address":"10.0.0.1",`+tagged+`}`)
	r.put("/v1/catalog/register", `{"Node":"known","Address":"10.0.0.1",`+tagged+`,"Service":{"Service":"web","Port":1}}`)
	r.put("/v1/catalog/register", `{"Node":"plain","Address":"10.0.0.2"}`)
	var nodes []struct {
		Node            string
		TaggedAddresses map[string]string
	}
	r.get("/v1/catalog/nodes", &nodes)
	var got []string
	for _, n := range nodes {
		got = append(got, fmt.Sprint(n.Node, n.TaggedAddresses))
	}
	const want = "map[lan:10.0.0.1 wan:198.51.100.1 wan_ipv4:198.51.100.1]"
	if text := strings.Join(got, " "); text != "kept"+want+" known"+want+" plainmap[lan:10.0.0.2 wan:10.0.0.2]" {
		t.Errorf("the nodes are %s", text)
	}
	r.put("/v1/catalog/register", `{"Node":"kept","Address":"10.0.0.3"}`)
	r.get("/v1/catalog/nodes?filter=Node+==+kept", &nodes)
	if len(nodes) != 1 || nodes[0].TaggedAddresses["wan"] != "10.0.0.3" {
		t.Errorf("afterwards the node is %v", nodes)
	}
}
