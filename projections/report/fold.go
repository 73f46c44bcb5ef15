package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
)

// Fold makes a report. The caller gives Begin all instances that are live at the beginning of the span, then Apply the
// events of the span in order, and then asks for the Report, once.
type Fold struct {
	options  Options
	from, to int64
	clock    *clock

	events   int
	live     map[domain.Key]*instance
	total    *group
	groups   map[Dimension]map[string]*group
	services map[domain.ServiceKey]*service

	churn     Churn
	changes   int
	flapped   map[domain.Key]*Flapping
	deaths    Deaths
	detected  delays
	replaced  delays
	deploys   []Deploy // over
	newerFrom map[domain.ServiceKey]int64
	made      int
}

// instance is a live instance.
type instance struct {
	state   domain.Instance
	service *service
	groups  [4]*group // that count it
	arrives bool      // the epoch began in the span, and has not been ready yet
	death   *death    // that the lapse of its lease is; nil: it did not lapse in the span
	flap    flap
}

// flap is what is known of an instance's changes of status.
type flap struct {
	recent   [domain.FlappingChanges]int64 // times of the newest changes, as a ring
	changes  int
	flapping bool
	times    int
}

// NewFold begins a report.
func NewFold(o Options) *Fold {
	f := &Fold{
		options: o, from: o.From.UnixNano(), to: o.To.UnixNano(), clock: newClock(o.Interruptions),
		live: map[domain.Key]*instance{}, services: map[domain.ServiceKey]*service{}, flapped: map[domain.Key]*Flapping{},
		groups:    map[Dimension]map[string]*group{ByService: {}, ByZone: {}, ByVersion: {}},
		newerFrom: map[domain.ServiceKey]int64{}, churn: Churn{ExitCodes: map[int]int{}},
	}
	f.total = f.newGroup()
	return f
}

func (f *Fold) newGroup() *group { return &group{clock: f.clock, least: f.options.Least, last: f.from} }

func (f *Fold) group(d Dimension, name string) *group {
	of := f.groups[d]
	if g := of[name]; g != nil {
		return g
	}
	if len(of) >= MaxGroups {
		name = OtherNames
		if g := of[name]; g != nil {
			return g
		}
	}
	of[name] = f.newGroup()
	return of[name]
}

func (f *Fold) service(key domain.ServiceKey) *service {
	s := f.services[key]
	if s == nil {
		s = &service{key: key, versions: map[string]int{}}
		f.services[key] = s
	}
	return s
}

// Begin adds an instance that is live at the beginning of the span.
func (f *Fold) Begin(start Start) {
	i := start.Instance
	s := f.service(domain.ServiceKey{Namespace: i.Key.Namespace, Service: i.Key.Service})
	if at := start.Registered.UnixNano(); !s.arrived || at > f.newerFrom[s.key] {
		s.newest, s.arrived, f.newerFrom[s.key] = i.Details.Version, true, at
	}
	l := &instance{service: s}
	f.live[i.Key] = l
	f.move(l, i, f.from)
}

// Apply adds an event. REQUIRES: it is of the span, and not before the event of the last call.
func (f *Fold) Apply(e *Event) {
	f.events++
	time := min(max(e.At.UnixNano(), f.from), f.to)
	l := f.live[e.Key]
	before := domain.Instance{Key: e.Key}
	if l != nil {
		before = l.state
	}
	after := domain.Evolve(before, e.Event, domain.Recorded{Actor: e.Actor, At: e.At})
	begins := false
	if r, ok := e.Event.(domain.InstanceRegistered); ok {
		begins = true
		f.registered(before.Live(), &r)
	}
	switch {
	case l == nil && after.Live():
		l = &instance{service: f.service(domain.ServiceKey{Namespace: e.Key.Namespace, Service: e.Key.Service})}
		f.live[e.Key] = l
	case l == nil:
		return // another program's event, or the end of maintenance after the instance's end
	}
	if begins {
		l.arrives, l.death = true, nil
	}
	if before.Live() && after.Live() && !begins && before.Status != after.Status {
		f.changed(l, time)
	}
	f.noteDeath(l, e, &before, &after, time)
	f.depart(e, &before, &after)
	f.settleDeploys(l.service, time)
	if joins := after.Live() && (begins || before.Details.Version != after.Details.Version); joins {
		if l.service.joins(after.Details.Version, time) != nil {
			f.made++
		}
	}
	f.move(l, after, time)
	if l.arrives && after.Ready() {
		l.arrives = false
		if took, replaces := l.service.becomesReady(arrival{e.Key, after.Epoch, time}); replaces {
			f.replaced.add(took)
		}
	}
	l.service.instant(time)
	if !after.Live() {
		f.keepFlapping(e.Key, l)
		delete(f.live, e.Key)
	}
}

// registered counts the beginning of an epoch.
func (f *Fold) registered(wasLive bool, r *domain.InstanceRegistered) {
	f.churn.Registered++
	if r.Epoch > 1 {
		f.churn.Again++
	}
	if wasLive {
		f.churn.Replaced++
	}
}

// depart counts the end of an epoch by its cause.
func (f *Fold) depart(e *Event, before, after *domain.Instance) {
	if !before.Live() || after.Live() {
		return
	}
	switch end := e.Event.(type) {
	case domain.LeaseExpired:
		f.churn.Lapsed++
	case domain.InstanceDeregistered:
		code, exited := domain.ExitCode(end.Reason)
		switch {
		case end.Check != "":
			f.churn.CheckFailed++
		case exited && code != 0:
			f.churn.Crashed++
			f.churn.ExitCodes[code]++
		default:
			f.churn.Deregistered++
		}
	}
}

// noteDeath counts an event that is a death, or that takes one back.
func (f *Fold) noteDeath(l *instance, e *Event, before, after *domain.Instance, time int64) {
	switch event := e.Event.(type) {
	case domain.HealthChanged:
		switch {
		case event.Lapsed && before.Live() && before.Lapsed.IsZero():
			l.death = f.lapsed(l, event.LastHeard.At().UnixNano(), !event.LastHeard.At().IsZero(), before, time)
			return
		case event.Lapsed:
			return
		}
	case domain.LeaseExpired:
		if before.Live() && before.Lapsed.IsZero() {
			f.lapsed(l, event.LastHeard.At().UnixNano(), !event.LastHeard.At().IsZero(), before, time)
		}
		return
	case domain.InstanceDeregistered:
		code, exited := domain.ExitCode(event.Reason)
		switch {
		case !before.Live():
		case event.Check != "" && !event.CriticalSince.IsZero():
			f.dies(l, before, event.CriticalSince.UnixNano(), time)
		case event.Check != "" || exited && code != 0:
			f.dies(l, before, time, time)
		}
		return
	}
	if l.death != nil && after.Live() && after.Lapsed.IsZero() {
		f.deaths.Recovered++
		l.death.over, l.death = true, nil
	}
}

// lapsed counts a lapse. last is when the instance was last heard, if that is known.
func (f *Fold) lapsed(l *instance, last int64, known bool, before *domain.Instance, time int64) *death {
	if !known {
		f.deaths.Unknown++
		return f.dies(l, before, time, time)
	}
	f.detected.add(f.clock.listened(last, time))
	return f.dies(l, before, last, time)
}

// dies counts a death that was noticed now.
func (f *Fold) dies(l *instance, before *domain.Instance, died, noticed int64) *death {
	f.deaths.All++
	d := &death{key: before.Key, epoch: before.Epoch, at: died}
	if took, replaced := l.service.died(d, noticed); replaced {
		f.replaced.add(took)
	}
	return d
}

// changed counts a change of status.
func (f *Fold) changed(l *instance, time int64) {
	f.changes++
	r := &l.flap
	oldest := &r.recent[r.changes%len(r.recent)] // is overwritten
	*oldest = time
	r.changes++
	first := r.recent[r.changes%len(r.recent)]
	flapping := r.changes >= len(r.recent) && time-first <= int64(domain.FlappingWithin)
	if flapping && !r.flapping {
		r.times++
	}
	r.flapping = flapping
}

// keepFlapping keeps what an instance that ends, or is live at the end of the span, did. The changes of all its epochs in
// the span are counted together.
func (f *Fold) keepFlapping(key domain.Key, l *instance) {
	if l.flap.times == 0 && f.flapped[key] == nil {
		return
	}
	kept := f.flapped[key]
	if kept == nil {
		kept = &Flapping{Key: key}
		f.flapped[key] = kept
	}
	kept.Changes += l.flap.changes
	kept.Times += l.flap.times
}

// settleDeploys notes how many instances of a service were ready until now, and keeps the deploys that are over.
func (f *Fold) settleDeploys(s *service, time int64) {
	for _, d := range s.changes(time) {
		f.deploys = append(f.deploys, d.result())
	}
}

// move counts an instance where its new state belongs.
func (f *Fold) move(l *instance, after domain.Instance, time int64) {
	before, was := &l.state, l.groups
	var now [4]*group
	if after.Live() {
		now = was
		if d := &before.Details; !before.Live() || d.Version != after.Details.Version || d.Zone != after.Details.Zone {
			now = [4]*group{f.total, f.group(ByService, l.service.key.String()), f.group(ByZone, after.Details.Zone), f.group(ByVersion, after.Details.Version)}
		}
	}
	if before.Live() {
		f.recount(was, before, -1, time)
		l.service.counts(before, -1)
	}
	if after.Live() {
		f.recount(now, &after, 1, time)
		l.service.counts(&after, 1)
	}
	l.groups, l.state = now, after
	d := &l.state.Details // what no figure needs takes no memory
	d.Address, d.Ports, d.Tags, d.Metadata, d.Origin = "", nil, nil, nil, ""
}

func (f *Fold) recount(groups [4]*group, i *domain.Instance, n int, time int64) {
	s := seatOf(i)
	for _, g := range groups {
		g.settle(time)
		g.count(s, n)
	}
}

// Report ends the span.
func (f *Fold) Report() *Report {
	listened := f.clock.listened(f.from, f.to)
	r := &Report{
		From: f.options.From, To: f.options.To, Listened: asDuration(listened), Events: f.events,
		Interruptions: f.clock.within(f.options.From, f.options.To),
		Churn:         f.churn, Changes: f.changes, Deaths: f.deaths, DeploysMade: f.made,
	}
	r.Total = f.total.finish(f.to, listened)
	r.Below, r.BelowCount = f.total.periods, f.total.over
	for _, d := range []Dimension{ByService, ByZone, ByVersion} {
		for _, name := range slices.Sorted(maps.Keys(f.groups[d])) {
			r.Groups = append(r.Groups, Group{d, name, f.groups[d][name].finish(f.to, listened)})
		}
	}
	for key, l := range f.live {
		f.keepFlapping(key, l)
	}
	r.FlappingAll = len(f.flapped)
	for _, fl := range f.flapped {
		r.Flapping = append(r.Flapping, *fl)
	}
	slices.SortFunc(r.Flapping, func(a, b Flapping) int {
		return cmp.Or(cmp.Compare(b.Changes, a.Changes), cmp.Compare(a.Key.String(), b.Key.String()))
	})
	r.Flapping = r.Flapping[:min(len(r.Flapping), MaxFlapping)]
	r.Deaths.Detected, r.Deaths.Replaced = f.detected.result(), f.replaced.result()
	for _, s := range f.services {
		f.settleDeploys(s, f.to)
		for _, d := range s.deploys {
			f.deploys = append(f.deploys, d.result())
		}
		for _, d := range s.waiting {
			if !d.over {
				r.Deaths.Waiting++
			}
		}
	}
	slices.SortFunc(f.deploys, func(a, b Deploy) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Service.String(), b.Service.String()), cmp.Compare(a.Version, b.Version))
	})
	r.Deploys = f.deploys[max(0, len(f.deploys)-MaxDeploys):]
	return r
}
