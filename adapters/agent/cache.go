package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// answerWithin is how long a lookup waits for what is not known yet.
const answerWithin = 2 * time.Second

// Watch has the API watch a service before the first lookup.
func (a *API) Watch(key domain.ServiceKey) error {
	_, err := a.watched(key)
	return err
}

// WatchAll has the API watch all services before the first request for a list.
func (a *API) WatchAll() *watch.Catalog {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.catalog == nil {
		a.catalog = a.watcher.Catalog()
	}
	return a.catalog
}

// watched is a service that is watched by its name.
func (a *API) watched(key domain.ServiceKey) (*watch.Service, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.services[key]; s != nil {
		return s, nil
	}
	if len(a.services) >= queries.MaxFollowed {
		return nil, web.NewProblem(http.StatusServiceUnavailable, "too-many", "The agent watches too many services by their names", "let it watch all: --watch '*'")
	}
	s, err := a.watcher.Service(key)
	if err == nil {
		a.services[key] = s
	}
	return s, err
}

// find gives all instances of a service, sorted by id. It waits for a while if nothing is known of the service yet.
func (a *API) find(ctx context.Context, key domain.ServiceKey) ([]*wire.Instance, watch.State, error) {
	a.mu.Lock()
	catalog := a.catalog
	a.mu.Unlock()
	if catalog != nil && catalog.Known() {
		if err := key.Validate(); err != nil {
			return nil, watch.State{}, err
		}
		return catalog.Instances(key), catalog.State(), nil
	}
	service, err := a.watched(key)
	if err != nil {
		return nil, watch.State{}, err
	}
	all, known := service.Instances()
	if !known {
		if err := within(ctx, service.Wait); err != nil {
			return nil, watch.State{}, err
		}
		all, _ = service.Instances()
	}
	return all, service.State(), nil
}

// panicOf says that a service panics; nil: it does not, or is not watched.
func (a *API) panicOf(key domain.ServiceKey) *wire.Panic {
	a.mu.Lock()
	catalog, service := a.catalog, a.services[key]
	a.mu.Unlock()
	switch {
	case catalog != nil && catalog.Known():
		return catalog.Panic(key)
	case service != nil:
		return service.Panic()
	}
	return nil
}

// within waits for what is not known yet.
func within(ctx context.Context, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := wait(ctx); err != nil {
		return web.NewProblem(http.StatusServiceUnavailable, "registry-unreachable", "The registry cannot be reached, and the cache lacks what was asked for", err.Error())
	}
	return nil
}

// service summarizes one service.
func (a *API) service(q question) (any, watch.State, error) {
	all, state, err := a.find(q.ctx, q.service)
	switch {
	case err != nil:
		return nil, state, err
	case len(all) == 0:
		return nil, state, queries.UnknownService{Key: q.service}
	}
	return summary(q.service, all, a.panicOf(q.service)), state, nil
}

func summary(key domain.ServiceKey, all []*wire.Instance, panics *wire.Panic) wire.ServiceSummary {
	s := wire.NewServiceSummary(key)
	s.Panic = panics
	for _, i := range all {
		s.Count(i.Status, i.Traffic, i.Ready(), i.ChangedAt)
	}
	return s
}

// list lists the services of a namespace, of the agent's where none is named.
func (a *API) list(q question) (any, watch.State, error) {
	list := wire.ServiceList{Services: []wire.ServiceSummary{}}
	state, err := a.all(q, q.service.Namespace, func(s watch.Listed) { list.Services = append(list.Services, summary(s.Key, s.Instances, s.Panic)) })
	return list, state, err
}

// everything lists the instances of every service, of all namespaces where none is named.
func (a *API) everything(q question) (any, watch.State, error) {
	catalog := wire.Catalog{Services: []wire.ServiceInstances{}}
	filter, err := queries.ParseInstanceFilter(q.values)
	if err != nil {
		return nil, watch.State{}, err
	}
	state, err := a.all(q, q.ns, func(s watch.Listed) {
		if some := picked(filter, s.Instances); len(some) > 0 {
			catalog.Services = append(catalog.Services, wire.ServiceInstances{Namespace: s.Key.Namespace, Service: s.Key.Service, Panic: s.Panic, Instances: some})
		}
	})
	return catalog, state, err
}

// all calls a function for each service of a namespace that has instances; "" and "*": of all namespaces.
func (a *API) all(q question, namespace string, of func(watch.Listed)) (watch.State, error) {
	namespace = queries.OneNamespace(namespace)
	if namespace != "" {
		if err := domain.ValidateLabel("ns", namespace); err != nil {
			return watch.State{}, err
		}
	}
	catalog := a.WatchAll()
	if err := within(q.ctx, catalog.Wait); err != nil {
		return watch.State{}, err
	}
	for _, s := range catalog.Services() {
		if namespace == "" || s.Key.Namespace == namespace {
			of(s)
		}
	}
	return catalog.State(), nil
}
