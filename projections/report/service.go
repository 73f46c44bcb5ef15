package report

import (
	"maps"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

const (
	// deployPause is how long after an arrival the next one of the same version still belongs to the same deploy.
	deployPause = 30 * time.Minute
	// earlyArrivals is how long an arrival may have come before the registry noticed the death that it makes up for: as
	// long as the longest ttl.
	earlyArrivals = domain.MaxTTL
	// maxArrivals is how many arrivals are kept for that: the newest.
	maxArrivals = 1000
)

// service is what is known of one service while events are folded.
type service struct {
	key domain.ServiceKey
	now int // ready instances

	waiting  []*death  // deaths without a replacement, in the order in which they were noticed, and some that are over
	settled  int       // deaths in waiting that are over
	arrivals []arrival // epochs that became ready and replaced nothing, oldest first

	versions map[string]int // live instances by version
	newest   string         // version of the newest arrival
	arrived  bool           // there was an arrival
	deploys  []*deploy      // under way
}

// death is an end that nobody asked for.
type death struct {
	key   domain.Key
	epoch uint64
	at    int64 // the last sign of life
	over  bool  // the instance was heard again, or was replaced
}

// arrival is a new epoch that became ready.
type arrival struct {
	key   domain.Key
	epoch uint64
	at    int64
}

// died notes a death. If an arrival since then makes up for it, took is the time between the two.
func (s *service) died(d *death, noticed int64) (took int64, replaced bool) {
	s.arrivals = slices.DeleteFunc(s.arrivals, func(a arrival) bool { return a.at < noticed-int64(earlyArrivals) })
	for i, a := range s.arrivals {
		if a.at >= d.at && (a.key != d.key || a.epoch != d.epoch) {
			s.arrivals = slices.Delete(s.arrivals, i, i+1)
			d.over = true
			return a.at - d.at, true
		}
	}
	s.waiting = append(s.waiting, d)
	return 0, false
}

// recovers notes that the instance of a death was heard again.
func (s *service) recovers(d *death) {
	if d.over {
		return
	}
	d.over = true
	s.settled++
	if s.settled > 1000 && s.settled > len(s.waiting)/2 { // else an instance that lapses often would take more and more memory
		s.waiting = slices.DeleteFunc(s.waiting, func(d *death) bool { return d.over })
		s.settled = 0
	}
}

// becomesReady notes that a new epoch became ready. If it makes up for a death, took is the time since then.
func (s *service) becomesReady(a arrival) (took int64, replaces bool) {
	for len(s.waiting) > 0 {
		d := s.waiting[0]
		s.waiting = s.waiting[1:]
		if !d.over {
			d.over = true
			return a.at - d.at, true
		}
		s.settled--
	}
	s.arrivals = append(s.arrivals, a)
	if len(s.arrivals) > maxArrivals {
		s.arrivals = s.arrivals[1:]
	}
	return 0, false
}

// deploy is a Deploy under way.
type deploy struct {
	Deploy
	total      Sum      // time of ready instances, from From to To
	seen       extremes // numbers of ready instances, from From to To
	totalLater Sum      // the same, from To to noted
	seenLater  extremes
	noted      int64
}

// note says that so many instances were ready since the last note.
func (d *deploy) note(to int64, ready int) {
	if to > d.noted {
		d.totalLater.add(to-d.noted, ready)
		d.seenLater.note(ready)
		d.noted = to
	}
}

// arrive adds an instance. REQUIRES: d is noted up to the time.
func (d *deploy) arrive(time int64) {
	d.Instances++
	d.To = at(time)
	d.total.seconds, d.total.nanos = d.total.seconds+d.totalLater.seconds, d.total.nanos+d.totalLater.nanos
	if d.seenLater.any {
		d.seen.note(d.seenLater.min)
		d.seen.note(d.seenLater.max)
	}
	d.totalLater, d.seenLater = Sum{}, extremes{}
}

// result is the deploy. ready is how many instances were ready right after an arrival, for a deploy that took no time.
func (d *deploy) result() Deploy {
	r := d.Deploy
	if took := int64(r.To.Sub(r.From)); took > 0 {
		r.Ready = Extent{d.seen.min, d.seen.max, d.total.over(took)}
	}
	return r
}

// changes notes, before the number of ready instances changes, how many were ready until now. It gives the deploys that
// are over.
func (s *service) changes(time int64) (over []*deploy) {
	s.deploys = slices.DeleteFunc(s.deploys, func(d *deploy) bool {
		if time-d.To.UnixNano() > int64(deployPause) {
			over = append(over, d)
			return true
		}
		d.note(time, s.now)
		return false
	})
	return over
}

// joins notes that an instance of a version arrived. REQUIRES: the instance is not counted in versions yet, and changes was
// called for the time. made is the deploy that begins with it; nil: none does.
func (s *service) joins(version string, time int64) (made *deploy) {
	defer func() { s.newest, s.arrived = version, true }()
	if version == "" {
		return nil
	}
	for _, d := range s.deploys {
		if d.Version == version {
			d.arrive(time)
			return nil
		}
	}
	if s.versions[version] > 0 || s.arrived && s.newest == version {
		return nil
	}
	d := &deploy{Deploy: Deploy{Service: s.key, Version: version, From: at(time), Replaces: slices.Sorted(maps.Keys(s.versions))}, noted: time}
	d.arrive(time)
	s.deploys = append(s.deploys, d)
	return d
}

// instant is called after an event: a deploy that has taken no time yet has as many ready instances as there are now.
func (s *service) instant(time int64) {
	for _, d := range s.deploys {
		if d.From.UnixNano() == time && d.To.UnixNano() == time {
			d.Ready = Extent{s.now, s.now, float64(s.now)}
		}
	}
}

// move counts an instance in another state.
func (s *service) move(before, after *traces.State) {
	if before.Ready() {
		s.now--
	}
	if after.Ready() {
		s.now++
	}
	if before.Details == after.Details { // nearly always
		return
	}
	if before.Live() {
		if s.versions[before.Version]--; s.versions[before.Version] == 0 {
			delete(s.versions, before.Version)
		}
	}
	if after.Live() {
		s.versions[after.Version]++
	}
}
