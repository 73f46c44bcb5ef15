package clienttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
)

// The loops of clients whose modules cannot be had are written here as they behave, in few words: what they ask, when they
// sleep, and what they do with an index.

// loop runs f until the test ends.
func loop(t *testing.T, f func(ctx context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			f(ctx)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func addressesOf(entries []*api.ServiceEntry) (all []string) {
	for _, e := range entries {
		host := e.Service.Address
		if host == "" {
			host = e.Node.Address
		}
		all = append(all, fmt.Sprintf("%s:%d", host, e.Service.Port))
	}
	return all
}

// watchResolver asks again at once after each answer, and takes a lower index: as resolvers of gRPC and go-zero do.
func watchResolver(t *testing.T, address string, says func(string)) {
	client := clientOf(t, address)
	index := uint64(0)
	loop(t, func(ctx context.Context) {
		entries, meta, err := client.Health().Service("web", "", true, (&api.QueryOptions{WaitIndex: index, Near: "_agent", AllowStale: true}).WithContext(ctx))
		if err != nil {
			pause(ctx, 100*time.Millisecond)
			return
		}
		index = meta.LastIndex
		says(portsOf(addressesOf(entries)))
	})
}

// watchFabio follows all checks, reads the catalog of a service whose checks pass, follows a key without a pause, and looks
// every two seconds whether it is still registered.
func watchFabio(t *testing.T, address string, says func(string)) {
	client := clientOf(t, address)
	self, err := client.Agent().Self()
	must(t, err)
	if dc, ok := self["Config"]["Datacenter"].(string); !ok || dc == "" {
		t.Error("the agent does not say its datacenter")
	}
	index, keyIndex := uint64(0), uint64(0)
	loop(t, func(ctx context.Context) {
		checks, meta, err := client.Health().State("any", (&api.QueryOptions{WaitIndex: index, RequireConsistent: true}).WithContext(ctx))
		if err != nil {
			pause(ctx, time.Second)
			return
		}
		index = meta.LastIndex
		passing := passingIDs(checks)
		services, _, err := client.Catalog().Service("web", "", (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		if err != nil {
			return
		}
		var all []string
		for _, s := range services {
			for _, id := range passing {
				if s.ServiceID == id {
					all = append(all, id)
				}
			}
		}
		says(line(all))
	})
	loop(t, func(ctx context.Context) {
		_, meta, err := client.KV().List("fabio/config", (&api.QueryOptions{WaitIndex: keyIndex, RequireConsistent: true}).WithContext(ctx))
		if err != nil {
			pause(ctx, time.Second)
			return
		}
		keyIndex = meta.LastIndex
	})
	loop(t, func(ctx context.Context) {
		_, _ = client.Agent().Services() // an error is logged there, and no more
		pause(ctx, 2*time.Second)
	})
}

// watchKratos waits 55 s, looks each second, and never says that there is nothing.
func watchKratos(t *testing.T, address string, says func(string)) {
	client := clientOf(t, address)
	index := uint64(0)
	loop(t, func(ctx context.Context) {
		asking, cancel := context.WithTimeout(ctx, 120*time.Second)
		defer cancel()
		entries, meta, err := client.Health().Service("web", "", true, (&api.QueryOptions{WaitIndex: index, WaitTime: 55 * time.Second}).WithContext(asking))
		if err == nil && meta.LastIndex != index {
			index = meta.LastIndex
			says(portsOf(addressesOf(entries)))
		}
		pause(ctx, time.Second)
	})
}

// watchMicro has a plan for the names, and a plan for each service.
func watchMicro(t *testing.T, address string, says func(string)) {
	client := clientOf(t, address)
	plans := map[string]*watch.Plan{}
	run := func(params map[string]any, handler func(uint64, any)) *watch.Plan {
		plan, err := watch.Parse(params)
		must(t, err)
		plan.Handler = handler
		go func() { _ = plan.RunWithClientAndHclog(client, hclog.NewNullLogger()) }()
		t.Cleanup(plan.Stop)
		return plan
	}
	run(map[string]any{"type": "services"}, func(_ uint64, result any) {
		services, _ := result.(map[string][]string)
		for name := range services {
			if plans[name] == nil {
				plans[name] = run(map[string]any{"type": "service", "service": name}, func(_ uint64, result any) {
					entries, _ := result.([]*api.ServiceEntry)
					var passing []*api.ServiceEntry
					for _, e := range entries {
						if e.Checks.AggregatedStatus() == api.HealthPassing {
							passing = append(passing, e)
						}
					}
					if name == "web" {
						says(portsOf(addressesOf(passing)))
					}
				})
			}
		}
	})
}

// watchTraefik has plans for the names and for all checks. Each wakes a look at every service that its tags enable; a further
// one that comes during a look is remembered once. Statuses are found by the ids of node and service together, and
// passing and warning are enough.
func watchTraefik(t *testing.T, address string, says func(string)) {
	client := clientOf(t, address)
	woken := make(chan struct{}, 1)
	for _, what := range []string{"services", "checks"} {
		plan, err := watch.Parse(map[string]any{"type": what})
		must(t, err)
		plan.HybridHandler = func(watch.BlockingParamVal, any) {
			select {
			case woken <- struct{}{}:
			default:
			}
		}
		go func() { _ = plan.RunWithClientAndHclog(client, hclog.NewNullLogger()) }()
		t.Cleanup(plan.Stop)
	}
	look := func(ctx context.Context) error {
		options := (&api.QueryOptions{}).WithContext(ctx)
		names, _, err := client.Catalog().Services(options)
		if err != nil {
			return err
		}
		var all []string
		for name, tags := range names {
			if slices.Contains(tags, "traefik.enable=false") {
				continue
			}
			entries, _, err := client.Health().Service(name, "", false, options)
			if err != nil {
				return err
			}
			statuses := map[string]string{}
			for _, e := range entries {
				statuses[e.Node.ID+e.Service.ID] = e.Checks.AggregatedStatus()
			}
			for _, e := range entries {
				if s := statuses[e.Node.ID+e.Service.ID]; name == "web" && (s == api.HealthPassing || s == api.HealthWarning) {
					all = append(all, addressesOf([]*api.ServiceEntry{e})...)
				}
			}
		}
		says(portsOf(all))
		return nil
	}
	loop(t, func(ctx context.Context) {
		for look(ctx) != nil { // the whole provider begins anew
			if pause(ctx, 500*time.Millisecond); ctx.Err() != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-woken:
		}
	})
}

// watchSpring waits two seconds for the catalog, sleeps one, and checks the server's leader as its health indicator does.
func watchSpring(t *testing.T, address string, says func(string)) {
	index := "-1"
	loop(t, func(ctx context.Context) {
		query := url.Values{"wait": {"2s"}, "index": {index}}
		if index == "-1" {
			query.Del("index")
		}
		var services map[string][]string
		header, err := getJSON(ctx, "http://"+address+"/v1/catalog/services?"+query.Encode(), &services)
		var leader string
		if err == nil {
			_, err = getJSON(ctx, "http://"+address+"/v1/status/leader", &leader)
		}
		if err == nil && leader != "" {
			index = header.Get("x-consul-index")
			var all []string
			for name := range services {
				all = append(all, name)
			}
			says(line(all))
		}
		pause(ctx, time.Second)
	})
}

func getJSON(ctx context.Context, url string, into any) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	return resp.Header, err
}
