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

	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// answerWithin is how long a lookup waits for a service of which nothing is known yet.
const answerWithin = 2 * time.Second

// API answers lookups on the host from a watcher's memory, at the paths of the native API:
//
//	GET /v1/services/{service}/instances
//	GET /v1/services/{service}/instances/{id}
//
// with the filters of the native API. The header Age says how many seconds old an answer is; Rollcall-Stale is true while
// the registry is out of reach. A service is watched from its first lookup on.
type API struct {
	watcher   *watch.Watcher
	namespace string // of requests that name none
	hosts     *web.Hosts
	problems  func() []error // of the agent's files
	mux       *http.ServeMux

	mu       sync.Mutex
	services map[domain.ServiceKey]*watch.Service
}

// NewAPI is an API for requests to some hosts; nil: to any.
func NewAPI(w *watch.Watcher, namespace string, hosts *web.Hosts, problems func() []error) *API {
	a := &API{watcher: w, namespace: cmp.Or(namespace, domain.DefaultNamespace), hosts: hosts, problems: problems, mux: http.NewServeMux(), services: map[domain.ServiceKey]*watch.Service{}}
	a.mux.HandleFunc("GET /v1/services/{service}/instances", a.answer(a.instances))
	a.mux.HandleFunc("GET /v1/services/{service}/instances/{id}", a.answer(a.instance))
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	a.mux.HandleFunc("GET /readyz", a.ready)
	a.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, web.NewProblem(http.StatusNotFound, "no-such-route", "There is nothing at this path", "the agent answers lookups of instances only: ask the registry"))
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.hosts.Allow(r.Host) { // a page of another site may not ask through the browser
		refuse(w, web.NewProblem(http.StatusMisdirectedRequest, "other-host", "The request is for another host", "the agent answers requests for localhost and loopback addresses only"))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// Watch has the API watch a service before the first lookup.
func (a *API) Watch(key domain.ServiceKey) error {
	_, err := a.service(key)
	return err
}

func (a *API) service(key domain.ServiceKey) (*watch.Service, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.services[key]; s != nil {
		return s, nil
	}
	if len(a.services) >= queries.MaxFollowed {
		return nil, web.NewProblem(http.StatusServiceUnavailable, "too-many", "The agent watches too many services", "ask the registry")
	}
	s, err := a.watcher.Service(key)
	if err == nil {
		a.services[key] = s
	}
	return s, err
}

// ready answers whether all files are right.
func (a *API) ready(w http.ResponseWriter, _ *http.Request) {
	if problems := a.problems(); len(problems) > 0 {
		refuse(w, web.NewProblem(http.StatusServiceUnavailable, "not-ready", "A file of definitions is wrong", errors.Join(problems...).Error()))
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// answer answers with the value that a lookup gives.
func (a *API) answer(lookup func(r *http.Request, key domain.ServiceKey, all []*wire.Instance, values url.Values) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			refuse(w, web.ProblemOf(domain.InvalidField{Field: "query", Rule: "must be well formed"}))
			return
		}
		ns, err := queries.ParseNamespace(values)
		if err != nil {
			refuse(w, web.ProblemOf(err))
			return
		}
		delete(values, "ns")
		delete(values, "namespace")
		key := domain.ServiceKey{Namespace: cmp.Or(ns, a.namespace), Service: r.PathValue("service")}
		service, err := a.service(key)
		if err != nil {
			refuse(w, web.ProblemOf(err))
			return
		}
		all, known := service.Instances()
		if !known {
			ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
			defer cancel()
			if err := service.Wait(ctx); err != nil {
				refuse(w, web.NewProblem(http.StatusServiceUnavailable, "registry-unreachable", "The registry cannot be reached, and the cache lacks the service", err.Error()))
				return
			}
			all, _ = service.Instances()
		}
		value, err := lookup(r, key, all, values)
		state := service.State()
		w.Header().Set("Age", strconv.FormatInt(int64(state.Age()/time.Second), 10))
		w.Header().Set("Rollcall-Stale", strconv.FormatBool(!state.Live))
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

func (a *API) instances(_ *http.Request, key domain.ServiceKey, all []*wire.Instance, values url.Values) (any, error) {
	filter, err := queries.ParseInstanceFilter(values)
	switch {
	case err != nil:
		return nil, err
	case filter.MaxSilence > 0:
		return nil, domain.InvalidField{Field: "max_silence", Rule: "is not known here: ask the registry"}
	}
	list := wire.InstanceList{Service: key.Service, Namespace: key.Namespace, Instances: []wire.Instance{}}
	for _, i := range all {
		if matches(filter, i) {
			list.Instances = append(list.Instances, *i)
		}
	}
	return list, nil
}

func (a *API) instance(r *http.Request, key domain.ServiceKey, all []*wire.Instance, values url.Values) (any, error) {
	for name := range values {
		return nil, domain.InvalidField{Field: name, Rule: "is not a known parameter"}
	}
	id := r.PathValue("id")
	n, there := slices.BinarySearchFunc(all, id, func(i *wire.Instance, id string) int { return cmp.Compare(i.ID, id) })
	if !there {
		return nil, domain.UnknownInstance{Key: domain.Key{Namespace: key.Namespace, Service: key.Service, ID: id}}
	}
	return *all[n], nil
}

// matches says whether a filter picks an instance.
func matches(f queries.InstanceFilter, i *wire.Instance) bool {
	if f.Ready && !pick.Ready(i) || len(f.Statuses) > 0 && !slices.Contains(f.Statuses, i.Status) ||
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
	return true
}

func refuse(w http.ResponseWriter, p *wire.Problem) {
	w.Header().Set("Content-Type", web.MIMEProblem)
	w.WriteHeader(p.Status)
	_, _ = w.Write(web.EncodeProblem(p, ""))
}
