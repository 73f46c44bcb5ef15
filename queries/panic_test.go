package queries_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// health says how an instance is.
func (r *rig) health(k domain.Key, to domain.Status) eventstore.Position {
	r.t.Helper()
	from := r.Live.Catalog().Find(k).Status()
	return r.apply(r.append(eventstore.LifecycleStream(k), domain.HealthChanged{Epoch: 1, From: from, To: to, Source: domain.FromClient}))
}

// policy sets a policy with a panic threshold; "": it removes it.
func (r *rig) policy(name, service, threshold string) eventstore.Position {
	r.t.Helper()
	if threshold == "" {
		return r.apply(r.append(eventstore.PolicyStream, domain.PolicyRemoved{Name: name}))
	}
	return r.apply(r.append(eventstore.PolicyStream, domain.PolicySet{Name: name, PolicySpec: domain.PolicySpec{
		Namespace: "*", Service: domain.Pattern(service), PanicThreshold: domain.Amount(threshold),
	}}))
}

// ready is what a lookup of a service's ready instances gives: the ids, and the policy by which the service panics.
func (r *rig) ready(service, at string, more ...string) (ids, policy string) {
	r.t.Helper()
	values := url.Values{"ready": {"true"}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	filter, err := queries.ParseInstanceFilter(values)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.Catalog(r.t.Context(), at)
	if err != nil {
		r.t.Fatal(err)
	}
	form, err := c.Instances(r.t.Context(), key(service, "").ServiceKey(), filter, false)
	if err != nil {
		r.t.Fatal(err)
	}
	var list wire.InstanceList
	if err := json.Unmarshal(form.Bytes, &list); err != nil {
		r.t.Fatal(err)
	}
	if list.Panic != nil {
		policy = fmt.Sprintf("%s %d/%d", list.Panic.Policy, list.Panic.Ready, list.Panic.Instances)
	}
	return idsOf(list.Instances), policy
}

func idsOf(all []wire.Instance) string {
	var ids []string
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return strings.Join(ids, " ")
}

func TestBelowThePanicThresholdAllInstancesAreGiven(t *testing.T) {
	r := start(t)
	for i, id := range []string{"a", "b", "c", "d"} {
		r.register(key("web", id), fmt.Sprint("zone-", i%2))
	}
	want := func(when, ids, policy string, more ...string) {
		t.Helper()
		if got, by := r.ready("web", "", more...); got != ids || by != policy {
			t.Errorf("%s: %q by %q, want %q by %q", when, got, by, ids, policy)
		}
	}
	half := r.policy("half", "w*", "50%")
	r.policy("other", "pay", "100%")
	want("all are ready", "a b c d", "")
	r.health(key("web", "a"), domain.Critical)
	down := r.health(key("web", "b"), domain.Critical)
	want("the share is the threshold", "c d", "")
	r.append(eventstore.LifecycleStream(key("web", "c")), domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining})
	third := r.health(key("web", "b"), domain.Starting)
	want("one of four is ready", "a b c d", "half 1/4")
	want("of a zone", "b d", "half 1/4", "zone", "zone-1")
	want("with a status", "c d", "half 1/4", "status", "passing")
	if ids, by := r.ready("web", fmt.Sprint(third)); ids != "d" || by != "" {
		t.Errorf("at a moment: %q by %q", ids, by)
	}
	r.policy("more", "*", "75%")
	want("of two policies the greater", "a b c d", "more 1/4")
	r.policy("half", "", "")
	r.policy("more", "", "")
	want("the policies are removed", "d", "")
	if half >= down {
		t.Error("positions fall")
	}
}

// A waiting lookup is answered when a policy begins or ends, also if no instance changes.
func TestAPolicyWakesWhoWaitsForAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.register(key("web", "a"), "")
		r.register(key("web", "b"), "")
		at := r.health(key("web", "b"), domain.Critical)
		for _, threshold := range []string{"80%", ""} {
			woken := make(chan error, 1)
			go func() {
				woken <- r.Await(t.Context(), key("web", "").ServiceKey(), &queries.Wait{Index: r.At(at), For: time.Minute})
			}()
			synctest.Wait()
			began := time.Now()
			set := r.policy("p", "web", threshold)
			if err := <-woken; err != nil || time.Since(began) > time.Second {
				t.Errorf("%q: %v after %s", threshold, err, time.Since(began))
			}
			if at = r.View(key("web", "").ServiceKey()).Position; at != set {
				t.Errorf("the service is at %d, want %d", at, set)
			}
		}
	})
}

// follower keeps a copy of what it is told.
type follower struct {
	following *queries.Following
	copy      map[domain.Key]wire.Instance
	panics    map[domain.ServiceKey]string // by its service: the policy
	told      []string                     // the kinds of the updates
	at        eventstore.Position
}

func (f *follower) next(ctx context.Context) error {
	u, err := f.following.Next(ctx)
	if err != nil {
		return err
	}
	note := func(p wire.ServicePanic) {
		f.panics[domain.ServiceKey{Namespace: p.Namespace, Service: p.Service}] = p.Policy
	}
	switch u := u.(type) {
	case queries.Snapshot:
		f.told, f.at = append(f.told, map[bool]string{true: "reset", false: "snapshot"}[u.Reset]), u.At
		clear(f.copy)
		clear(f.panics)
		var d struct {
			wire.InstanceList
			Services []wire.ServiceInstances
		}
		if err := json.Unmarshal(u.JSON.Bytes, &d); err != nil {
			return err
		}
		if d.Service != "" {
			d.Services = append(d.Services, wire.ServiceInstances{Namespace: d.Namespace, Service: d.Service, Panic: d.Panic, Instances: d.Instances})
		}
		for _, s := range d.Services {
			if s.Panic != nil {
				note(wire.ServicePanic{Namespace: s.Namespace, Service: s.Service, Panic: *s.Panic})
			}
			for _, i := range s.Instances {
				f.copy[i.Key()] = i
			}
		}
	case queries.Changes:
		for _, c := range u {
			shown := c.Show()
			f.at = c.Position()
			k := domain.Key{Namespace: shown.Namespace, Service: shown.Service, ID: shown.ID}
			if delete(f.copy, k); shown.Op == wire.Put {
				f.copy[k] = *shown.Instance
			}
		}
		f.told = append(f.told, "change")
	case queries.Panics:
		f.told, f.at = append(f.told, "panic"), u.At
		clear(f.panics)
		for _, p := range u.Panic.Services {
			note(p)
		}
	case queries.Cut:
		return io.EOF
	}
	return nil
}

// catchUp takes all updates until there are no more.
func (f *follower) catchUp(t *testing.T) {
	t.Helper()
	for {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second) // in a bubble: nothing else is to be done
		err := f.next(ctx)
		stop()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever happens to instances and policies, and wherever a follower resumes: its copy is what a lookup gives, and it knows
// which services panic.
func TestFollowersHaveWhatLookupsGive(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			r := start(t)
			services := []string{"web", "pay"}
			queriesOf := []queries.FollowQuery{
				{}, {Filter: queries.InstanceFilter{Ready: true}},
				{Service: key("web", "").ServiceKey()}, {Service: key("web", "").ServiceKey(), Filter: queries.InstanceFilter{Ready: true}},
				{Services: []domain.ServiceKey{key("pay", "").ServiceKey(), key("web", "").ServiceKey()}, Filter: queries.InstanceFilter{Ready: true}},
			}
			followers := make([]*follower, len(queriesOf))
			follow := func(i int, after *wire.Position) {
				q := queriesOf[i]
				q.After = after
				following, err := r.Follow(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if followers[i] == nil {
					followers[i] = &follower{copy: map[domain.Key]wire.Instance{}, panics: map[domain.ServiceKey]string{}}
				}
				followers[i].following = following
			}
			for i := range queriesOf {
				follow(i, nil)
			}
			defer func() {
				for _, f := range followers {
					f.following.Close()
				}
			}()
			names := map[string]bool{}
			for range 60 {
				for range 1 + random.IntN(3) {
					k := key(services[random.IntN(2)], fmt.Sprint(random.IntN(4)))
					switch entry := r.Live.Catalog().Find(k); {
					case random.IntN(8) == 0:
						name := fmt.Sprint("p", random.IntN(2))
						if names[name] && random.IntN(2) == 0 {
							r.policy(name, "", "")
							names[name] = false
						} else {
							r.policy(name, []string{"*", "web"}[random.IntN(2)], fmt.Sprintf("%d%%", 1+random.IntN(100)))
							names[name] = true
						}
					case entry == nil:
						r.register(k, "")
					case random.IntN(8) == 0:
						r.deregister(k)
					default:
						r.health(k, []domain.Status{domain.Passing, domain.Critical}[random.IntN(2)])
					}
				}
				for i, f := range followers {
					if random.IntN(3) == 0 {
						continue // it is slow
					}
					if random.IntN(6) == 0 { // it resumes
						at := r.At(f.at)
						f.following.Close()
						follow(i, &at)
					}
					f.catchUp(t)
					r.compare(t, queriesOf[i], f, fmt.Sprintf("seed %d, follower %d, told %v", seed, i, f.told))
				}
			}
		})
	}
}

// compare holds a follower's copy to the lookups of its services.
func (r *rig) compare(t *testing.T, q queries.FollowQuery, f *follower, when string) {
	t.Helper()
	for _, service := range []string{"web", "pay"} {
		k := key(service, "").ServiceKey()
		if q.Service != (domain.ServiceKey{}) && q.Service != k {
			continue
		}
		view := r.View(k)
		all, ready := []string{}, []string{}
		for _, e := range view.Entries {
			all = append(all, e.ID())
			if e.Ready() {
				ready = append(ready, e.ID())
			}
		}
		policy := ""
		for _, p := range r.Panics() {
			if p.Service == service {
				policy, ready = p.Policy, all
			}
		}
		if q.Filter.Ready {
			all = ready
		}
		var has []string
		for k := range f.copy {
			if k.Service == service {
				has = append(has, k.ID)
			}
		}
		slices.Sort(has)
		if got := strings.Join(has, " "); got != strings.Join(all, " ") || f.panics[k] != policy {
			t.Fatalf("%s: of %s it has %q, and the policy %q; want %q, %q", when, service, got, f.panics[k], strings.Join(all, " "), policy)
		}
	}
}
