package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// request is a request with what all routes read of it.
type request struct {
	echo.Context
	route     string // the route's path
	id        string // what follows it
	query     url.Values
	namespace string
	named     bool // the request names the namespace
	who       *web.Identity
	index     uint64
	wait      time.Duration
	elsewhere bool // the request is about a peer, and there are none
	filtered  bool // the caller may not read all that is asked about, whether or not there is more
}

func (f *face) read(c echo.Context, id string) (*request, error) {
	r := c.Request()
	q := &request{Context: c, id: id, namespace: domain.DefaultNamespace, wait: usualWait}
	var err error
	if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, failure{http.StatusBadRequest, "Invalid query parameters"}
	}
	if q.who, err = f.identify(c, q.query.Get("token")); err != nil {
		return nil, err
	}
	for _, ns := range []string{r.Header.Get("X-Consul-Namespace"), q.query.Get("ns")} {
		if ns == "" {
			continue
		}
		if domain.ValidateLabel("ns", ns) != nil {
			return nil, invalid(`query parameter: "ns" - a namespace is a label in lower case, and a request is about one namespace`)
		}
		q.namespace, q.named = ns, true
	}
	for _, name := range []string{"partition", "ap"} {
		if !onlyPartition(q.query.Get(name)) {
			return nil, invalid(`query parameter: "` + name + noPartitions)
		}
	}
	if !onlyPartition(r.Header.Get("X-Consul-Partition")) {
		return nil, invalid(`header: "X-Consul-Partition` + noPartitions)
	}
	for _, name := range []string{"peer", "sameness-group"} {
		q.elsewhere = q.elsewhere || q.query.Get(name) != ""
	}
	if dc := q.query.Get("dc"); dc != "" && dc != f.Datacenter {
		return nil, failure{http.StatusInternalServerError, "No path to datacenter"}
	}
	stale, cached, consistent := q.query.Has("stale"), q.query.Has("cached"), q.query.Has("consistent")
	switch {
	case stale && consistent:
		return nil, failure{http.StatusBadRequest, "Cannot specify ?stale with ?consistent, conflicting semantics."}
	case cached && consistent:
		return nil, failure{http.StatusBadRequest, "Cannot specify ?cached with ?consistent, conflicting semantics."}
	}
	if text := q.query.Get("index"); text != "" {
		if q.index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, failure{http.StatusBadRequest, "Invalid index"}
		}
	}
	if text := q.query.Get("wait"); text != "" {
		if q.wait, err = time.ParseDuration(text); err != nil {
			return nil, failure{http.StatusBadRequest, "Invalid wait time"}
		}
		if q.wait <= 0 {
			q.wait = usualWait
		}
		q.wait = min(q.wait, MaxWait)
	}
	return q, nil
}

const noPartitions = `" - Partitions are a Consul Enterprise feature`

func onlyPartition(name string) bool { return name == "" || name == "default" }

// tenancy is where a body says that what it names belongs.
type tenancy struct{ Namespace, Partition string }

// within takes the namespace that the parts of a body name, which must be one.
func (q *request) within(parts ...tenancy) error {
	named := ""
	for _, t := range parts {
		switch {
		case !onlyPartition(t.Partition):
			return invalid(`body: "Partition` + noPartitions)
		case t.Namespace == "" || t.Namespace == named:
		case named != "":
			return invalid(`body: "Namespace" - all of a registration is of one namespace`)
		case domain.ValidateLabel("ns", t.Namespace) != nil:
			return invalid(`body: "Namespace" - a namespace is a label in lower case`)
		default:
			named = t.Namespace
		}
	}
	if named != "" {
		q.namespace = named
	}
	return nil
}

// identify says who sends a token: in ?token=, X-Consul-Token or Authorization, in that order. While access is off, tokens
// mean nothing.
func (f *face) identify(c echo.Context, token string) (*web.Identity, error) {
	r := c.Request()
	if token == "" {
		token = r.Header.Get("X-Consul-Token")
	}
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); !strings.EqualFold(scheme, "bearer") {
		r.Header.Del("Authorization") // basic authentication is for a proxy
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	checked := f.Access.MustVerify(r)
	if checked { // before the signature costs anything
		if err := f.limit(c, nil, web.Requests); err != nil {
			return nil, err
		}
	}
	who, err := f.Access.Identify(r)
	if err != nil {
		if !checked { // guesses, too, are limited
			if limited := f.limit(c, nil, web.Requests); limited != nil {
				return nil, limited
			}
		}
		return nil, failure{http.StatusForbidden, "ACL not found"}
	}
	return who, nil
}

// limit counts a request for its caller; nil: nobody knows who calls.
func (f *face) limit(c echo.Context, who *web.Identity, limit web.Limit) error {
	if err := f.Limits.Limit(c, who, limit); err != nil {
		c.Response().Header().Set("Retry-After", "1")
		return failure{http.StatusTooManyRequests, "Your request was rejected: the caller sends more than it may"}
	}
	return nil
}

// flag is a boolean parameter: it is true without a value, too.
func (q *request) flag(name string) (bool, error) {
	if !q.query.Has(name) {
		return false, nil
	}
	switch q.query.Get(name) {
	case "", "1", "true", "t", "T", "TRUE", "True":
		return true, nil
	case "0", "false", "f", "F", "FALSE", "False":
		return false, nil
	}
	return false, failure{http.StatusBadRequest, "Invalid value for ?" + name}
}

// reads says whether the caller may read a service, or with "" all services of the namespace.
func (q *request) reads(namespace, service string) bool { return reads(q.who, namespace, service) }

func reads(who *web.Identity, namespace, service string) bool {
	return domain.Allow(who.Grants, domain.ReadCatalog, domain.Key{Namespace: namespace, Service: service})
}

func (q *request) readsService(key domain.ServiceKey) bool {
	return q.reads(key.Namespace, key.Service)
}

// knows says whether the caller may read or change an instance. Any other instance is to the caller as one that is not there.
func (q *request) knows(key domain.Key) bool { return knows(q.who, key) }

func knows(who *web.Identity, key domain.Key) bool {
	return reads(who, key.Namespace, key.Service) || domain.Allow(who.Grants, domain.WriteInstances|domain.WriteOwn|domain.ChangeInstanceTraffic, key)
}

// caller is who sends the request, for the events.
func (q *request) caller() commands.Caller {
	return commands.Caller{Actor: q.who.Name, Source: web.SourceOf(q.Request().RemoteAddr), Via: domain.ViaConsul, RequestID: web.RequestID(q)}
}

// decode reads the body. Names of fields count without regard to case, aliases are names of Consul's config files, and
// unknown fields are ignored: many clients send fields of other releases.
func (q *request) decode(v any) error {
	body, err := q.body()
	if err != nil {
		return err
	}
	plain, err := renamed(body)
	if err == nil {
		err = json.Unmarshal(plain, v)
	}
	if err != nil {
		return undecodable(err)
	}
	return nil
}

func undecodable(err error) failure {
	return failure{http.StatusBadRequest, "Request decode failed: " + err.Error()}
}

// body reads the body, which may not be empty. Meanwhile the request has no turn (web.Incoming).
func (q *request) body() ([]byte, error) {
	in := web.Read(q, http.MaxBytesReader(q.Response(), q.Request().Body, MaxBody))
	defer in.Close()
	body, err := io.ReadAll(in)
	if in.Refused() != nil {
		return nil, in.Refused()
	}
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, failure{http.StatusRequestEntityTooLarge, "Request body too large, max size: " + strconv.Itoa(MaxBody) + " bytes."}
		}
		return nil, undecodable(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, undecodable(io.EOF)
	}
	return body, in.Resume()
}

// aliases are other names of fields.
var aliases = map[string]string{
	"enable_tag_override": "EnableTagOverride", "tagged_addresses": "TaggedAddresses", "deregister_critical_service_after": "DeregisterCriticalServiceAfter",
	"docker_container_id": "DockerContainerID", "tls_server_name": "TLSServerName", "tls_skip_verify": "TLSSkipVerify", "grpc_use_tls": "GRPCUseTLS",
	"h2ping_use_tls": "H2PingUseTLS", "tcp_use_tls": "TCPUseTLS", "script_args": "ScriptArgs", "args": "ScriptArgs", "service_id": "ServiceID",
	"socket_path": "SocketPath", "disable_redirects": "DisableRedirects", "success_before_passing": "SuccessBeforePassing",
	"failures_before_critical": "FailuresBeforeCritical", "failures_before_warning": "FailuresBeforeWarning", "output_max_size": "OutputMaxSize",
}

// verbatim are fields whose keys are the client's.
var verbatim = []string{"meta", "nodemeta", "taggedaddresses", "header", "proxy", "connect"}

// renamed gives fields their proper names, within objects whose keys are Consul's.
func renamed(body []byte) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("invalid character after top-level value")
	}
	return json.Marshal(rename(v))
}

func rename(v any) any {
	switch v := v.(type) {
	case map[string]any:
		renamed := make(map[string]any, len(v))
		for name, value := range v {
			if !slices.Contains(verbatim, strings.ReplaceAll(strings.ToLower(name), "_", "")) {
				value = rename(value)
			}
			if proper, ok := aliases[strings.ToLower(name)]; ok && name != proper {
				if _, given := v[proper]; given {
					continue
				}
				name = proper
			}
			renamed[name] = value
		}
		return renamed
	case []any:
		for i := range v {
			v[i] = rename(v[i])
		}
	}
	return v
}

// duration is a Go duration, or a number of nanoseconds.
type duration time.Duration

// UnmarshalJSON reads either form.
func (d *duration) UnmarshalJSON(b []byte) error {
	var text string
	if b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		if text == "" {
			return nil
		}
		parsed, err := time.ParseDuration(text)
		*d = duration(parsed)
		return err
	}
	if string(b) == "null" {
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	*d = duration(n)
	return err
}
