package report

import (
	"cmp"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// Fold makes a report. The caller gives Begin all instances that are live at the beginning of the span, then Apply the steps
// of the span in order, and then asks for the Report, once.
type Fold struct {
	options  Options
	from, to int64
	clock    *clock
	now      moment // of the newest step

	events   int
	live     map[domain.Key]*Instance
	numbers  numbers
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

// Instance is what a Fold knows of an instance.
type Instance struct {
	key     domain.Key
	state   traces.State
	service *service
	cohort  *cohort // that counts it
	arrives bool    // the epoch began in the span, and has not been ready yet
	death   *death  // that the lapse of its lease is; nil: it did not lapse in the span
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
		live: map[domain.Key]*Instance{}, services: map[domain.ServiceKey]*service{}, flapped: map[domain.Key]*Flapping{},
		newerFrom: map[domain.ServiceKey]int64{}, churn: Churn{ExitCodes: map[int]int{}},
	}
	f.now = f.clock.moment(f.from)
	f.numbers = newNumbers(f.clock, o.Least, f.now)
	return f
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
	l := f.Instance(start.Key)
	if at := start.Registered; !l.service.arrived || at > f.newerFrom[l.service.key] {
		l.service.newest, l.service.arrived, f.newerFrom[l.service.key] = start.State.Version, true, at
	}
	f.live[l.key] = l
	f.move(l, &start.State)
}

// Instance is an instance whose steps follow. It stays the same as long as the instance is live. After its end, the caller may
// use it on, or ask for it again.
func (f *Fold) Instance(key domain.Key) *Instance {
	if l := f.live[key]; l != nil {
		return l
	}
	return &Instance{key: key, service: f.service(domain.ServiceKey{Namespace: key.Namespace, Service: key.Service})}
}

// Apply adds a step of an instance. REQUIRES: it is of the span, and not before the step of the last call.
func (f *Fold) Apply(l *Instance, step *traces.Step) {
	f.events++
	if at := min(max(step.At, f.from), f.to); at != f.now.at {
		f.now = f.clock.moment(at)
	}
	if l.state.Live() && l.death == nil && step.Changes() {
		f.change(l, step)
		return
	}
	time := f.now.at
	before, after := l.state, l.state.After(step)
	begins := step.Kind == traces.Registered
	if begins {
		f.registered(before.Live(), step)
	}
	switch {
	case before.Live():
	case after.Live():
		f.live[l.key] = l
	default:
		return // another program's event, or the end of maintenance after the instance's end
	}
	if begins {
		l.arrives, l.death = true, nil
	}
	ends := !after.Live()
	if !ends && !begins && before.Status != after.Status {
		f.changed(l, time)
	}
	if ends || step.Lapsed || l.death != nil {
		f.noteDeath(l, step, &before, &after, time)
	}
	if ends {
		f.depart(step)
	}
	f.settleDeploys(l.service, time)
	if !ends && (begins || before.Details != after.Details && before.Version != after.Version) {
		if l.service.joins(after.Version, time) != nil {
			f.made++
		}
	}
	f.move(l, &after)
	if l.arrives && after.Ready() {
		f.arrive(l)
	}
	l.service.instant(time)
	if ends {
		f.keepFlapping(l)
		delete(f.live, l.key)
		*l = Instance{key: l.key, service: l.service}
	}
}

// change is Apply for a step that changes only the status or the traffic state of a live instance, which nearly all do.
func (f *Fold) change(l *Instance, step *traces.Step) {
	status, ready, seat := l.state.Status, l.state.Ready(), seatOf(&l.state)
	l.state.Change(step)
	if l.state.Status != status {
		f.changed(l, f.now.at)
	}
	if seatOf(&l.state) == seat {
		return
	}
	f.settleDeploys(l.service, f.now.at)
	l.cohort.seats[seat].add(-1, f.now)
	l.cohort.seats[seatOf(&l.state)].add(1, f.now)
	if is := l.state.Ready(); is != ready {
		n := 1
		if !is {
			n = -1
		}
		l.cohort.recount(0, n, f.now)
		l.service.now += n
		if is && l.arrives {
			f.arrive(l)
		}
	}
	l.service.instant(f.now.at)
}

// arrive notes that the epoch of an instance became ready.
func (f *Fold) arrive(l *Instance) {
	l.arrives = false
	if took, replaces := l.service.becomesReady(arrival{l.key, l.state.Epoch, f.now.at}); replaces {
		f.replaced.add(took)
	}
}

// registered counts the beginning of an epoch.
func (f *Fold) registered(wasLive bool, step *traces.Step) {
	f.churn.Registered++
	if step.New.Begins > 1 {
		f.churn.Again++
	}
	if wasLive {
		f.churn.Replaced++
	}
}

// depart counts the end of an epoch by its cause.
func (f *Fold) depart(step *traces.Step) {
	switch {
	case step.Kind == traces.Expired:
		f.churn.Lapsed++
	case step.ByCheck:
		f.churn.CheckFailed++
	case step.Crashed:
		f.churn.Crashed++
		f.churn.ExitCodes[int(step.Code)]++
	default:
		f.churn.Deregistered++
	}
}

// noteDeath counts a step that is a death, or that takes one back.
func (f *Fold) noteDeath(l *Instance, step *traces.Step, before, after *traces.State, time int64) {
	switch step.Kind {
	case traces.Health:
		switch {
		case step.Lapsed && before.Live() && !before.Lapsed:
			l.death = f.lapsed(l, step, time)
			return
		case step.Lapsed:
			return
		}
	case traces.Expired:
		if before.Live() && !before.Lapsed {
			f.lapsed(l, step, time)
		}
		return
	case traces.Deregistered:
		switch {
		case !before.Live():
		case step.ByCheck && step.SinceKnown:
			f.dies(l, step.Since, time)
		case step.ByCheck || step.Crashed:
			f.dies(l, time, time)
		}
		return
	}
	if l.death != nil && after.Live() && !after.Lapsed {
		f.deaths.Recovered++
		l.service.recovers(l.death)
		l.death = nil
	}
}

// lapsed counts a lapse.
func (f *Fold) lapsed(l *Instance, step *traces.Step, time int64) *death {
	if !step.SinceKnown {
		f.deaths.Unknown++
		return f.dies(l, time, time)
	}
	f.detected.add(f.clock.listened(step.Since, time))
	return f.dies(l, step.Since, time)
}

// dies counts a death that was noticed now.
func (f *Fold) dies(l *Instance, died, noticed int64) *death {
	f.deaths.All++
	d := &death{key: l.key, epoch: l.state.Epoch, at: died}
	if took, replaced := l.service.died(d, noticed); replaced {
		f.replaced.add(took)
	}
	return d
}

// changed counts a change of status.
func (f *Fold) changed(l *Instance, time int64) {
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
func (f *Fold) keepFlapping(l *Instance) {
	kept := f.flapped[l.key]
	if l.flap.times == 0 && kept == nil {
		return
	}
	if kept == nil {
		kept = &Flapping{Key: l.key}
		f.flapped[l.key] = kept
	}
	kept.Changes += l.flap.changes
	kept.Times += l.flap.times
}

// settleDeploys notes how many instances of a service were ready until now, and keeps the deploys that are over.
func (f *Fold) settleDeploys(s *service, time int64) {
	if len(s.deploys) == 0 { // nearly always
		return
	}
	for _, d := range s.changes(time) {
		f.deploys = append(f.deploys, d.result())
	}
	if len(f.deploys) > 2*MaxDeploys {
		f.deploys = newestDeploys(f.deploys)
	}
}

// newestDeploys are those of the deploys that a report lists, oldest first.
func newestDeploys(all []Deploy) []Deploy {
	slices.SortFunc(all, func(a, b Deploy) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Service.String(), b.Service.String()), cmp.Compare(a.Version, b.Version))
	})
	return slices.Delete(all, 0, max(0, len(all)-MaxDeploys))
}

// move counts an instance where its new state belongs.
func (f *Fold) move(l *Instance, after *traces.State) {
	before := &l.state
	cohort := l.cohort
	if after.Live() && (!before.Live() || before.Details != after.Details && (before.Version != after.Version || before.Zone != after.Zone)) {
		cohort = f.numbers.cohort(l.service.key.String(), after.Zone, after.Version)
	}
	f.numbers.move(l.cohort, cohort, before, after, f.now)
	l.service.move(before, after)
	l.cohort, l.state = cohort, *after
}

// Report ends the span.
func (f *Fold) Report() *Report {
	end := f.clock.moment(f.to)
	listened := f.clock.listened(f.from, f.to)
	r := &Report{
		From: f.options.From, To: f.options.To, Listened: asDuration(listened), Events: f.events,
		Interruptions: f.clock.within(f.options.From, f.options.To),
		Churn:         f.churn, Changes: f.changes, Deaths: f.deaths, DeploysMade: f.made,
	}
	f.numbers.finish(r, end, listened)
	for _, l := range f.live {
		f.keepFlapping(l)
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
		r.Deaths.Waiting += len(s.waiting) - s.settled
	}
	r.Deploys = newestDeploys(f.deploys)
	return r
}
