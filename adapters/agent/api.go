package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// API answers lookups on the host from a watcher's memory, at the paths of the native API:
//
//	GET /v1/services/{service}/instances
//	GET /v1/services/{service}/instances/{id}
//	GET /v1/services/{service}
//	GET /v1/services
//	GET /v1/catalog
//
// with the filters of the native API. The header Age says how many seconds old an answer is; Rollcall-Stale is true while
// the registry is out of reach. A service is watched from its first lookup on, and all services from the first request for
// a list on.
type API struct {
	watcher   *watch.Watcher
	namespace string // of requests that name none
	hosts     *web.Hosts
	problems  func() []error // of the agent's files
	mux       *http.ServeMux

	mu       sync.Mutex
	services map[domain.ServiceKey]*watch.Service
	catalog  *watch.Catalog // nil: services are watched by their names only
}

// NewAPI is an API for requests to some hosts; nil: to any.
func NewAPI(w *watch.Watcher, namespace string, hosts *web.Hosts, problems func() []error) *API {
	a := &API{watcher: w, namespace: cmp.Or(namespace, domain.DefaultNamespace), hosts: hosts, problems: problems, mux: http.NewServeMux(), services: map[domain.ServiceKey]*watch.Service{}}
	a.mux.HandleFunc("GET /v1/services/{service}/instances", a.answer(a.instances, append([]string{"ns"}, filters...)...))
	a.mux.HandleFunc("GET /v1/services/{service}/instances/{id}", a.answer(a.instance, "ns"))
	a.mux.HandleFunc("GET /v1/services/{service}", a.answer(a.service, "ns"))
	a.mux.HandleFunc("GET /v1/services", a.answer(a.list, "ns"))
	a.mux.HandleFunc("GET /v1/catalog", a.answer(a.everything, append([]string{"ns"}, filters...)...))
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	a.mux.HandleFunc("GET /readyz", a.ready)
	a.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, web.NewProblem(http.StatusNotFound, "no-such-route", "There is nothing at this path", "the agent answers lookups of services and instances only: ask the registry"))
	})
	return a
}

// Handle answers at another path, for requests to the same hosts.
func (a *API) Handle(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.hosts.Allow(r.Host) { // a page of another site may not ask through the browser
		refuse(w, web.NewProblem(http.StatusMisdirectedRequest, "other-host", "The request is for another host", "the agent answers requests for localhost and loopback addresses only"))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// ready answers whether all files are right.
func (a *API) ready(w http.ResponseWriter, _ *http.Request) {
	if problems := a.problems(); len(problems) > 0 {
		refuse(w, web.NewProblem(http.StatusServiceUnavailable, "not-ready", "A file of definitions is wrong", errors.Join(problems...).Error()))
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// question is what a request asks.
type question struct {
	ctx     context.Context
	ns      string // "": the request names none
	service domain.ServiceKey
	id      string
	values  url.Values // the filters
}

// answer answers with the value that a lookup gives, and says how old it is. Other parameters than those with these names
// (web.Params) are refused.
func (a *API) answer(lookup func(question) (any, watch.State, error), parameters ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			refuse(w, web.NewProblem(http.StatusBadRequest, "invalid-query", "The query cannot be read", err.Error()))
			return
		}
		if err := web.CheckParams(values, parameters...); err != nil {
			refuse(w, web.ProblemOf(err))
			return
		}
		q := question{ctx: r.Context(), ns: values.Get("ns"), id: r.PathValue("id"), values: values}
		q.service = domain.ServiceKey{Namespace: cmp.Or(q.ns, a.namespace), Service: r.PathValue("service")}
		delete(values, "ns")
		value, state, err := lookup(q)
		if !state.At.IsZero() {
			w.Header().Set("Age", strconv.FormatInt(int64(state.Age()/time.Second), 10))
			w.Header().Set("Rollcall-Stale", strconv.FormatBool(!state.Live))
		}
		if err != nil {
			refuse(w, web.ProblemOf(err))
			return
		}
		b, err := json.Marshal(value)
		if err != nil {
			refuse(w, web.ProblemOf(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	}
}

func (a *API) instances(q question) (any, watch.State, error) {
	filter, err := queries.ParseInstanceFilter(q.values)
	if err != nil {
		return nil, watch.State{}, err
	}
	all, state, err := a.find(q.ctx, q.service)
	if err != nil {
		return nil, state, err
	}
	return wire.InstanceList{Service: q.service.Service, Namespace: q.service.Namespace, Panic: a.panicOf(q.service), Instances: picked(filter, all)}, state, nil
}

func (a *API) instance(q question) (any, watch.State, error) {
	all, state, err := a.find(q.ctx, q.service)
	if err != nil {
		return nil, state, err
	}
	n, there := slices.BinarySearchFunc(all, q.id, func(i *wire.Instance, id string) int { return cmp.Compare(i.ID, id) })
	if !there {
		return nil, state, domain.UnknownInstance{Key: domain.Key{Namespace: q.service.Namespace, Service: q.service.Service, ID: q.id}}
	}
	return *all[n], state, nil
}

// filters are the parameters of queries.ParseInstanceFilter that the cache can answer: it does not know when an instance
// was last heard.
var filters = []string{"status+", "tag+", "zone", "version", "ready", "check+", "meta.*"}

// picked are the instances that a filter picks.
func picked(f queries.InstanceFilter, all []*wire.Instance) []wire.Instance {
	some := []wire.Instance{}
	for _, i := range all {
		if matches(f, i) {
			some = append(some, *i)
		}
	}
	return some
}

// matches says whether a filter picks an instance.
func matches(f queries.InstanceFilter, i *wire.Instance) bool {
	if f.Ready && !i.Given() || len(f.Statuses) > 0 && !slices.Contains(f.Statuses, i.Status) ||
		f.Zone != "" && f.Zone != i.Zone || f.Version != "" && f.Version != i.Version {
		return false
	}
	for _, tag := range f.Tags {
		if !slices.Contains(i.Tags, tag) {
			return false
		}
	}
	for key, value := range f.Metadata {
		if got, ok := i.Metadata[key]; !ok || got != value {
			return false
		}
	}
	for _, check := range f.Checks {
		if !slices.ContainsFunc(i.Checks, func(c wire.Check) bool {
			return (check.ID == "" || check.ID == c.ID) && (check.Status == "" || check.Status == c.Status)
		}) {
			return false
		}
	}
	return true
}

func refuse(w http.ResponseWriter, p *wire.Problem) {
	w.Header().Set("Content-Type", web.MIMEProblem)
	w.WriteHeader(p.Status)
	_, _ = w.Write(web.EncodeProblem(p, ""))
}
