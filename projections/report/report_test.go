package report_test

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/report"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

var zero = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return zero.Add(time.Duration(seconds) * time.Second) }

// event is a lifecycle event of an instance.
type event struct {
	Key   domain.Key
	At    time.Time
	Event domain.Event
}

func (e *event) step() *traces.Step { return step(e.At, e.Event) }

func apply(f *report.Fold, e event) { f.Apply(f.Instance(e.Key), e.step()) }

// past is a random past: some events before a span, which give the states at its beginning, and those of the span.
type past struct {
	from, to      time.Time
	before        []event
	events        []event
	interruptions []report.Interruption
	least         int
}

var keys = []domain.Key{
	{Namespace: "default", Service: "web", ID: "a"}, {Namespace: "default", Service: "web", ID: "b"},
	{Namespace: "default", Service: "web", ID: "c"}, {Namespace: "default", Service: "db", ID: "a"},
}

func drawPast(t *rapid.T) past {
	p := past{from: at(1000), least: rapid.IntRange(0, 3).Draw(t, "least")}
	now, epochs := 900, map[domain.Key]uint64{}
	for range rapid.IntRange(0, 60).Draw(t, "events") {
		now += rapid.SampledFrom([]int{0, 1, 1, 7, 40, 400, 2000}).Draw(t, "pause")
		key := rapid.SampledFrom(keys).Draw(t, "key")
		e := event{Key: key, At: at(now), Event: drawEvent(t, key, epochs, now)}
		if now <= 1000 {
			p.before = append(p.before, e)
		} else {
			p.events = append(p.events, e)
		}
	}
	p.to = at(max(now, 1000) + rapid.IntRange(1, 5000).Draw(t, "rest"))
	for range rapid.IntRange(0, 4).Draw(t, "interruptions") {
		from := rapid.IntRange(800, now+100).Draw(t, "deaf from")
		p.interruptions = append(p.interruptions, report.Interruption{From: at(from), To: at(from + rapid.IntRange(0, 700).Draw(t, "deaf for"))})
	}
	return p
}

func drawEvent(t *rapid.T, key domain.Key, epochs map[domain.Key]uint64, now int) domain.Event {
	details := domain.Details{
		Address: "::1", Status: rapid.SampledFrom([]domain.Status{domain.Passing, domain.Passing, domain.Starting, domain.Critical}).Draw(t, "status"),
		Zone: rapid.SampledFrom([]string{"", "eu", "us"}).Draw(t, "zone"), Version: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "version"),
	}
	status := rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning, domain.Critical}).Draw(t, "to")
	heard := time.Time{}
	if back := rapid.IntRange(0, 40).Draw(t, "heard"); back > 0 {
		heard = at(now - back)
	}
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 0, 1, 2:
		epochs[key]++
		return domain.InstanceRegistered{Epoch: epochs[key], Details: details}
	case 3:
		return domain.InstanceUpdated{Changed: []string{"version", "zone", "status"}, Details: details}
	case 4, 5:
		return domain.HealthChanged{To: status, Source: domain.FromClient}
	case 6:
		return domain.HealthChanged{To: domain.Critical, Source: domain.FromLease, Lapsed: true, Reported: domain.Passing, LastHeard: domain.LastHeard{LastHeartbeat: heard}}
	case 7:
		return domain.HealthChanged{To: domain.Passing, Source: domain.FromLease}
	case 8:
		return domain.TrafficChanged{To: rapid.SampledFrom([]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}).Draw(t, "traffic")}
	case 9:
		return domain.LeaseExpired{LastHeard: domain.LastHeard{LastHeartbeat: heard}}
	}
	return rapid.SampledFrom([]domain.InstanceDeregistered{
		{}, {Reason: "scaled down"}, {Reason: domain.ExitReason(137, 9)}, {Reason: domain.ExitReason(0, 0)}, {Reason: "stopped by signal 15, exited with code 143"},
		{Check: "http", CriticalSince: at(now - 3)},
	}).Draw(t, "end")
}

// starts are the live instances at the beginning of the span.
func (p *past) starts() (all []report.Start) {
	for _, key := range keys {
		i, registered := domain.Instance{Key: key}, time.Time{}
		for _, e := range p.before {
			if e.Key == key {
				if _, begins := e.Event.(domain.InstanceRegistered); begins {
					registered = e.At
				}
				i = domain.Evolve(i, e.Event, domain.Recorded{At: e.At})
			}
		}
		if i.Live() {
			all = append(all, report.Start{Key: key, State: traces.StateOf(&i), Registered: registered.UnixNano()})
		}
	}
	return all
}

func (p *past) report() *report.Report {
	f := report.NewFold(report.Options{From: p.from, To: p.to, Least: p.least, Interruptions: p.interruptions})
	for _, s := range p.starts() {
		f.Begin(s)
	}
	for i := range p.events {
		apply(f, p.events[i])
	}
	return f.Report()
}

// present are the live instances when all events that were recorded up to a time have been applied.
func (p *past) present(now time.Time) (all []domain.Instance) {
	for _, key := range keys {
		i := domain.Instance{Key: key}
		for _, e := range slices.Concat(p.before, p.events) {
			if e.Key == key && !e.At.After(now) {
				i = domain.Evolve(i, e.Event, domain.Recorded{At: e.At})
			}
		}
		if i.Live() {
			all = append(all, i)
		}
	}
	return all
}

func (p *past) deaf(now time.Time) bool {
	return slices.ContainsFunc(p.interruptions, func(i report.Interruption) bool { return !now.Before(i.From) && now.Before(i.To) })
}

// A report says what looking at every second of the span gives.
func TestAReportIsWhatEverySecondOfTheSpanAddsUpTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPast(t)
		got := p.report()
		all := func(domain.Instance) bool { return true }
		p.compare(t, "total", got.Total, all)
		named := map[report.Dimension]func(domain.Instance) string{
			report.ByZone: func(i domain.Instance) string { return i.Details.Zone }, report.ByVersion: func(i domain.Instance) string { return i.Details.Version },
			report.ByService: func(i domain.Instance) string { return i.Key.Namespace + "/" + i.Key.Service },
		}
		for _, g := range got.Groups {
			p.compare(t, fmt.Sprintf("%s %q", g.Dimension, g.Name), g.Figures, func(i domain.Instance) bool { return named[g.Dimension](i) == g.Name })
		}
		p.comparePeriods(t, got)
		p.compareEvents(t, got)
		p.compareDeploys(t, got)
	})
}

// moments are the times at which anything may change, from the beginning of the span to its end.
func (p *past) moments() (all []time.Time) {
	all = []time.Time{p.from, p.to}
	for _, e := range p.events {
		all = append(all, e.At)
	}
	for _, i := range p.interruptions {
		all = append(all, i.From, i.To)
	}
	all = slices.DeleteFunc(all, func(m time.Time) bool { return m.Before(p.from) || m.After(p.to) })
	slices.SortFunc(all, time.Time.Compare)
	return slices.Compact(all)
}

func (p *past) compare(t *rapid.T, name string, got report.Figures, belongs func(domain.Instance) bool) {
	var want report.Figures
	registered, ready, listened, seconds := []int{}, []int{}, 0.0, map[any]float64{}
	moments := p.moments()
	for i := range len(moments) - 1 {
		if p.deaf(moments[i]) {
			continue
		}
		took := moments[i+1].Sub(moments[i])
		n, r := 0, 0
		for _, in := range p.present(moments[i]) {
			if !belongs(in) {
				continue
			}
			n++
			if in.Ready() {
				r++
			}
			seconds[in.Status] += took.Seconds()
			seconds[in.Traffic] += took.Seconds()
			seconds["registered"] += took.Seconds()
		}
		seconds["ready"] += took.Seconds() * float64(r)
		listened += took.Seconds()
		registered, ready = append(registered, n), append(ready, r)
		if r < p.least {
			want.Below += took
		}
	}
	if len(registered) > 0 {
		want.Registered = report.Extent{Min: slices.Min(registered), Max: slices.Max(registered), Mean: seconds["registered"] / listened}
		want.Ready = report.Extent{Min: slices.Min(ready), Max: slices.Max(ready), Mean: seconds["ready"] / listened}
	}
	if !near(got.Registered, want.Registered) || !near(got.Ready, want.Ready) || got.Below != want.Below {
		t.Fatalf("%s: registered %v, ready %v, below %s; want %v, %v, %s", name, got.Registered, got.Ready, got.Below, want.Registered, want.Ready, want.Below)
	}
	if got.RegisteredTime.Seconds() != seconds["registered"] || got.ReadyTime.Seconds() != seconds["ready"] {
		t.Fatalf("%s: registered for %v s, ready for %v s; want %v", name, got.RegisteredTime.Seconds(), got.ReadyTime.Seconds(), seconds)
	}
	for s, sum := range got.Statuses {
		if sum.Seconds() != seconds[s] {
			t.Fatalf("%s: %s for %v s, want %v", name, s, sum.Seconds(), seconds[s])
		}
	}
	for s, sum := range got.Traffics {
		if sum.Seconds() != seconds[s] {
			t.Fatalf("%s: %s for %v s, want %v", name, s, sum.Seconds(), seconds[s])
		}
	}
}

func near(a, b report.Extent) bool {
	return a.Min == b.Min && a.Max == b.Max && math.Abs(a.Mean-b.Mean) < 1e-9
}

func (p *past) comparePeriods(t *rapid.T, got *report.Report) {
	var want []report.Period
	moments := p.moments()
	open := false
	listened := time.Duration(0)
	for i := range len(moments) - 1 {
		ready, took := 0, moments[i+1].Sub(moments[i])
		for _, in := range p.present(moments[i]) {
			if in.Ready() {
				ready++
			}
		}
		if !p.deaf(moments[i]) {
			listened += took
		}
		if ready >= p.least {
			open = false
			continue
		}
		if !open {
			open, want = true, append(want, report.Period{From: moments[i], Lowest: ready})
		}
		last := &want[len(want)-1]
		last.To, last.Lowest = moments[i+1], min(last.Lowest, ready)
		if p.deaf(moments[i]) {
			last.Deaf += took
		}
	}
	n := len(want)
	slices.SortStableFunc(want, func(a, b report.Period) int { return cmp.Compare(b.To.Sub(b.From), a.To.Sub(a.From)) })
	want = want[:min(n, report.MaxPeriods)]
	if got.BelowCount != n || len(got.Below) != len(want) || len(want) > 0 && !reflect.DeepEqual(got.Below, want) {
		t.Fatalf("%d periods below %d: %v, want %d: %v", got.BelowCount, p.least, got.Below, n, want)
	}
	if got.Listened != listened {
		t.Fatalf("listened for %s, want %s", got.Listened, listened)
	}
}

// compareEvents counts the causes of ends, the deaths and what replaced them, event by event.
func (p *past) compareEvents(t *rapid.T, got *report.Report) {
	churn := report.Churn{ExitCodes: map[int]int{}}
	changes, unknown := 0, 0
	var detected, replaced []time.Duration
	type epoch struct {
		key   domain.Key
		epoch int
	}
	type loss struct {
		epoch
		died     time.Time
		over     bool
		replaced bool
	}
	type joined struct {
		epoch
		ready time.Time
		used  bool
	}
	var losses []*loss
	var arrivals []*joined
	began, waiting := map[domain.Key]int{}, map[domain.Key]bool{}
	lapsed := map[domain.Key]*loss{}
	recovered := 0
	state := map[domain.Key]domain.Instance{}
	for _, s := range p.present(p.from) {
		state[s.Key] = s
	}
	for _, e := range p.events {
		before := state[e.Key]
		before.Key = e.Key
		after := domain.Evolve(before, e.Event, domain.Recorded{At: e.At})
		state[e.Key] = after
		if !before.Live() && !after.Live() {
			continue
		}
		die := func(died time.Time) *loss {
			l := &loss{epoch: epoch{e.Key, began[e.Key]}, died: died}
			losses = append(losses, l)
			for _, a := range arrivals {
				if !a.used && a.key.Service == e.Key.Service && a.epoch != l.epoch && !a.ready.Before(died) && !a.ready.Before(e.At.Add(-24*time.Hour)) {
					a.used, l.over, l.replaced = true, true, true
					replaced = append(replaced, a.ready.Sub(died))
					break
				}
			}
			return l
		}
		lapse := func(heard time.Time) *loss {
			if heard.IsZero() {
				unknown++
				return die(e.At)
			}
			took := time.Duration(0)
			for s := heard; s.Before(e.At); s = s.Add(time.Second) {
				if !p.deaf(s) {
					took += time.Second
				}
			}
			detected = append(detected, took)
			return die(heard)
		}
		recovers := after.Live() && after.Lapsed.IsZero()
		switch said := e.Event.(type) {
		case domain.InstanceRegistered:
			churn.Registered++
			if said.Epoch > 1 {
				churn.Again++
			}
			if before.Live() {
				churn.Replaced++
			}
			began[e.Key]++
			waiting[e.Key] = true
			lapsed[e.Key] = nil
		case domain.LeaseExpired:
			churn.Lapsed++
			if before.Lapsed.IsZero() {
				lapse(said.LastHeard.At())
			}
		case domain.HealthChanged:
			if said.Lapsed && before.Lapsed.IsZero() {
				lapsed[e.Key] = lapse(said.LastHeard.At())
			}
		case domain.InstanceDeregistered:
			switch {
			case said.Check != "":
				churn.CheckFailed++
				die(said.CriticalSince)
			case said.Reason == "exited with code 137, killed by signal 9":
				churn.Crashed++
				churn.ExitCodes[137]++
				die(e.At)
			default:
				churn.Deregistered++
			}
		}
		if _, begins := e.Event.(domain.InstanceRegistered); !begins && before.Live() && after.Live() && before.Status != after.Status {
			changes++
		}
		if l := lapsed[e.Key]; l != nil && recovers {
			recovered++
			l.over, lapsed[e.Key] = true, nil
		}
		if waiting[e.Key] && after.Ready() {
			waiting[e.Key] = false
			a := &joined{epoch: epoch{e.Key, began[e.Key]}, ready: e.At}
			for _, l := range losses {
				if !l.over && l.key.Service == e.Key.Service {
					a.used, l.over, l.replaced = true, true, true
					replaced = append(replaced, e.At.Sub(l.died))
					break
				}
			}
			arrivals = append(arrivals, a)
		}
	}
	if !reflect.DeepEqual(got.Churn, churn) || got.Changes != changes {
		t.Fatalf("churn %+v and %d changes, want %+v and %d", got.Churn, got.Changes, churn, changes)
	}
	want := report.Deaths{All: len(losses), Detected: sumUp(detected), Unknown: unknown, Recovered: recovered, Replaced: sumUp(replaced)}
	for _, l := range losses {
		if !l.over {
			want.Waiting++
		}
	}
	if got.Deaths != want {
		t.Fatalf("deaths %+v, want %+v", got.Deaths, want)
	}
}

func sumUp(all []time.Duration) (d report.Delays) {
	if len(all) == 0 {
		return d
	}
	total := time.Duration(0)
	for _, one := range all {
		total += one
	}
	return report.Delays{Count: len(all), Min: slices.Min(all), Max: slices.Max(all), Mean: total / time.Duration(len(all))}
}

// compareDeploys finds the arrivals of versions in the list of all arrivals.
func (p *past) compareDeploys(t *rapid.T, got *report.Report) {
	var want []report.Deploy
	for _, name := range []string{"db", "web"} {
		var made []*report.Deploy
		newest, any, registered := "", false, int64(0)
		state := map[domain.Key]domain.Instance{}
		for _, s := range p.starts() {
			if s.Key.Service == name && (!any || s.Registered > registered) {
				newest, any, registered = s.State.Version, true, s.Registered
			}
		}
		for _, i := range p.present(p.from) {
			if i.Key.Service == name {
				state[i.Key] = i
			}
		}
		for _, e := range p.events {
			before := state[e.Key]
			before.Key = e.Key
			after := domain.Evolve(before, e.Event, domain.Recorded{At: e.At})
			_, begins := e.Event.(domain.InstanceRegistered)
			version := after.Details.Version
			if e.Key.Service == name && after.Live() && (begins || before.Details.Version != version) {
				var others []string
				present := false
				for _, i := range state {
					if i.Live() {
						others = append(others, i.Details.Version)
						present = present || i.Details.Version == version
					}
				}
				slices.Sort(others)
				found := slices.IndexFunc(made, func(d *report.Deploy) bool { return d.Version == version && e.At.Sub(d.To) <= 30*time.Minute })
				switch {
				case version == "":
				case found >= 0:
					made[found].To = e.At
					made[found].Instances++
				case !present && !(any && newest == version):
					made = append(made, &report.Deploy{
						Service: domain.ServiceKey{Namespace: "default", Service: name}, Version: version, Replaces: slices.Compact(others), From: e.At, To: e.At, Instances: 1,
					})
				}
				newest, any = version, true
			}
			if e.Key.Service == name {
				state[e.Key] = after
			}
		}
		for _, d := range made {
			want = append(want, *d)
		}
	}
	slices.SortFunc(want, func(a, b report.Deploy) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Service.String(), b.Service.String()), cmp.Compare(a.Version, b.Version))
	})
	if got.DeploysMade != len(want) || len(got.Deploys) != len(want) {
		t.Fatalf("%d deploys %+v, want %+v", got.DeploysMade, got.Deploys, want)
	}
	for i, d := range got.Deploys {
		if d.From != d.To {
			p.compareReady(t, d)
		}
		d.Ready = report.Extent{}
		if !reflect.DeepEqual(d, want[i]) {
			t.Fatalf("deploy %+v, want %+v", d, want[i])
		}
	}
}

// compareReady compares how many instances were ready while a deploy took its time.
func (p *past) compareReady(t *rapid.T, d report.Deploy) {
	var numbers []int
	seconds := 0.0
	for s := d.From; s.Before(d.To); s = s.Add(time.Second) {
		n := 0
		for _, i := range p.present(s) {
			if i.Ready() && i.Key.Service == d.Service.Service {
				n++
			}
		}
		numbers = append(numbers, n)
		seconds += float64(n)
	}
	if want := (report.Extent{Min: slices.Min(numbers), Max: slices.Max(numbers), Mean: seconds / d.To.Sub(d.From).Seconds()}); !near(d.Ready, want) {
		t.Fatalf("ready during %+v, want %+v", d, want)
	}
}

// The lanes say of every second what a fold of the events up to it says.
func TestLanesSayWhatTheStateWasAtEverySecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPast(t)
		l := report.NewLanes(p.from, p.to, rapid.SampledFrom([]int{2, 5, 1000}).Draw(t, "limit"))
		for _, s := range p.starts() {
			l.Begin(s)
		}
		for i := range p.events {
			if !l.Apply(l.Instance(p.events[i].Key), p.events[i].step()) {
				break
			}
		}
		lanes, upTo := l.Lanes()
		for _, now := range p.moments() {
			if !now.Before(upTo) {
				break
			}
			want := map[domain.Key]report.State{}
			for _, i := range p.present(now) {
				want[i.Key] = report.State{Epoch: i.Epoch, Status: i.Status, Traffic: i.Traffic, Ready: i.Ready(), Zone: i.Details.Zone, Version: i.Details.Version}
			}
			got := map[domain.Key]report.State{}
			for _, lane := range lanes {
				for _, in := range lane.Intervals {
					if !now.Before(in.From) && now.Before(in.To) {
						got[lane.Key] = in.State
					}
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("at %s the lanes say %+v, want %+v", now, got, want)
			}
		}
	})
}

// An instance whose status changes six times within ten minutes flaps, once for as long as it goes on.
func TestAnInstanceFlapsWhileItsStatusKeepsChanging(t *testing.T) {
	f := report.NewFold(report.Options{From: at(0), To: at(100_000)})
	apply(f, event{Key: keys[0], At: at(1), Event: domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Status: domain.Passing}}})
	status := map[bool]domain.Status{true: domain.Critical, false: domain.Passing}
	change := func(n, first, every int) {
		for i := range n {
			apply(f, event{Key: keys[0], At: at(first + i*every), Event: domain.HealthChanged{To: status[i%2 == 0]}})
		}
	}
	change(8, 10, 120)      // six within ten minutes, and two more
	change(6, 10_000, 121)  // six in more than ten minutes
	change(6, 20_000, 10)   // again
	change(20, 30_000, 600) // slowly
	r := f.Report()
	if want := []report.Flapping{{Key: keys[0], Changes: 40, Times: 2}}; !reflect.DeepEqual(r.Flapping, want) || r.FlappingAll != 1 {
		t.Errorf("flapping are %+v, want %+v", r.Flapping, want)
	}
}
