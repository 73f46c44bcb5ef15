package leases

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Self-preservation: when very many leases lapse at once, the network or the registry is more likely the cause than the
// instances, and an empty catalog does more harm than a stale one (ADR 027).
//
// A namespace's fall is the number by which its living leases became fewer within a window because leases lapsed. A lease
// that begins or is renewed makes up for a lease that lapses. So instances that are abandoned one by one, while others
// register, never make a fall, at any rate.
const (
	// MassShare is the share of the living leases, in percent, that a mass lapse exceeds.
	MassShare = 15
	// MassCount is the number of leases that a mass lapse has at least.
	MassCount = 10
	// PreserveFor is how long expiry is held at most, unless an operator holds it.
	PreserveFor = 15 * time.Minute
	// ChangeEvery is the least time between a start and an end of self-preservation in a namespace.
	ChangeEvery = time.Minute

	// The window is half the mean ttl of the leases that lapsed. When many instances stop together, their leases lapse
	// within the time between two of their heartbeats.
	minWindow = time.Second
	maxWindow = 30 * time.Second
)

// Preservation decides, for each namespace, whether expiry must be held. REQUIRES: one goroutine uses it.
type Preservation struct {
	watched map[string]*watched
}

// watched is a namespace in which leases lapsed, or in which expiry is held.
type watched struct {
	recent  []fall    // from at least the last two windows, oldest first
	on      bool      // the log said at the last look that expiry is held
	coming  bool      // there is a mass lapse of which the log does not tell yet
	missing int       // while on or coming: leases that lapsed and were not made up for
	began   time.Time // when self-preservation was first seen on
	changed time.Time // when self-preservation was last seen to start or end
	renewed time.Time // while on: since when enough leases are renewed; zero: too few are
}

// fall counts what one look found.
type fall struct {
	at        time.Time
	net       int // leases that lapsed, less leases that joined; may be negative
	lapsed    int
	lapsedTTL time.Duration
}

// Verdict is what to do about a namespace's overdue leases.
type Verdict struct {
	Hold bool          // end no lease now
	Wait time.Duration // end no lease that has been overdue for less than this, because others may follow
	// Start and End ask for the event that starts or ends self-preservation. At most one of them is true.
	Start, End bool
	Cause      domain.PreservationEnd // set with End
	Seen       int                    // living leases
	Expected   int                    // living and missing leases
}

// Note adds what happened to a namespace's leases since the last look.
func (p *Preservation) Note(c Census, now time.Time) {
	w := p.watched[c.Namespace]
	if w == nil {
		if c.Lapsed == 0 {
			return
		}
		w = p.watch(c.Namespace)
	}
	w.missing += c.Lapsed - c.Joined
	w.recent = append(w.recent, fall{now, c.Lapsed - c.Joined, c.Lapsed, c.LapsedTTL})
}

func (p *Preservation) watch(namespace string) *watched {
	w := &watched{}
	if p.watched == nil {
		p.watched = make(map[string]*watched)
	}
	p.watched[namespace] = w
	return w
}

// Judge says what to do about a namespace. grace is when all leases last began anew.
func (p *Preservation) Judge(c Census, s Standing, grace, now time.Time) Verdict {
	w := p.watched[c.Namespace]
	if w == nil {
		if !s.On {
			return Verdict{}
		}
		w = p.watch(c.Namespace)
	}
	living := c.Leases - c.Overdue
	lost, window := w.lost(now)
	w.follow(s, lost, now)
	switch {
	case s.Forced && s.On:
		return Verdict{Hold: true, Seen: living, Expected: c.Leases}
	case s.On:
		return w.judgeOn(c, lost, grace, now)
	}
	early := !w.changed.IsZero() && now.Sub(w.changed) < ChangeEvery
	if isMass(lost, living) && !w.coming {
		w.coming, w.missing = true, lost
	}
	if w.coming {
		w.coming = early || isMass(w.missing, living)
		return Verdict{Hold: w.coming, Start: w.coming && !early, Seen: living, Expected: living + max(w.missing, 0)}
	}
	var v Verdict
	if living+lost >= MassCount && isMass(3*lost, living-2*lost) {
		v.Wait = window
	}
	if len(w.recent) == 0 && !early {
		delete(p.watched, c.Namespace)
	}
	return v
}

// judgeOn says whether expiry that is held goes on.
func (w *watched) judgeOn(c Census, lost int, grace, now time.Time) Verdict {
	living := c.Leases - c.Overdue
	v := Verdict{Hold: true, Seen: living, Expected: living + max(w.missing, 0)}
	// After all leases began anew, nothing is known about them until their ttl is over.
	silent := now.Sub(grace) <= min(c.TTL+c.TTL/2, PreserveFor)
	if isMass(w.missing, living) || isMass(lost, living) || silent {
		w.renewed = time.Time{}
	} else if w.renewed.IsZero() {
		w.renewed = now
	}
	if now.Sub(w.changed) < ChangeEvery {
		return v
	}
	// When most leases are renewed, the others get the time of a ttl to be renewed, too.
	if !w.renewed.IsZero() && now.Sub(w.renewed) >= min(c.TTL, 2*maxWindow) {
		v.End, v.Cause = true, domain.EndedRenewed
	} else if now.Sub(w.began) >= PreserveFor {
		v.End, v.Cause = true, domain.EndedTooLong
	}
	return v
}

// follow notes whether the log has changed since the last look, and at the first look what the log says.
func (w *watched) follow(s Standing, lost int, now time.Time) {
	at := now
	if w.changed.IsZero() && !s.Since.IsZero() { // it may have been before this process started
		at = now.Add(min(s.Since.Sub(now), 0))
		w.changed = at
	}
	if s.On == w.on {
		return
	}
	w.on, w.changed, w.renewed = s.On, at, time.Time{}
	if !s.On {
		w.recent = nil // leases that lapsed before do not start self-preservation again
		return
	}
	if !w.coming { // another node, or an operator, started it
		w.missing = lost
	}
	w.coming, w.began = false, at
	if now.Sub(at) >= PreserveFor {
		w.began = now
	}
}

// lost is the fall of the window that ends now, less the fall of the window before, and how long the window is. A number
// of leases that falls steadily is no mass lapse.
func (w *watched) lost(now time.Time) (int, time.Duration) {
	old := 0
	for old < len(w.recent) && now.Sub(w.recent[old].at) >= 2*maxWindow {
		old++
	}
	w.recent = w.recent[old:]
	lapsed, ttls := 0, time.Duration(0)
	for _, f := range w.recent {
		lapsed += f.lapsed
		ttls += f.lapsedTTL
	}
	window := maxWindow
	if lapsed > 0 {
		window = min(max(ttls/time.Duration(lapsed)/2, minWindow), maxWindow)
	}
	split := len(w.recent)
	for split > 0 && now.Sub(w.recent[split-1].at) < window {
		split--
	}
	first := split
	for first > 0 && now.Sub(w.recent[first-1].at) < 2*window {
		first--
	}
	return max(greatestFall(w.recent[split:])-greatestFall(w.recent[first:split]), 0), window
}

// greatestFall is how many fewer living leases there are at the end than at the time of the most.
func greatestFall(falls []fall) (greatest int) {
	sum := 0
	for i := len(falls) - 1; i >= 0; i-- {
		sum += falls[i].net
		greatest = max(greatest, sum)
	}
	return greatest
}

// Ruling is a verdict on a namespace.
type Ruling struct {
	Census
	Verdict
}

// Look judges every namespace in which a lease is overdue or expiry is held. grace is when all leases last began anew.
func (p *Preservation) Look(t *Table, s *Standings, grace, now time.Time) (rulings []Ruling) {
	var all Change
	for _, c := range t.Changes() {
		p.Note(c, now)
		all.Lapsed += c.Lapsed
		all.LapsedTTL += c.LapsedTTL
		all.Joined += c.Joined
	}
	judge := func(c Census) {
		standing := s.own[c.Namespace]
		if standing.Since.IsZero() { // what was decided of every namespace replaced its own
			standing.Since = s.all.Since
		}
		rulings = append(rulings, Ruling{c, p.Judge(c, standing, grace, now)})
	}
	if s.all.On {
		p.Note(Census{Change: all}, now)
		c := t.Count("")
		rulings = append(rulings, Ruling{c, p.Judge(c, s.all, grace, now)})
	} else {
		delete(p.watched, "")
	}
	seen := map[string]bool{}
	for _, c := range t.Late() {
		seen[c.Namespace] = true
		if _, own := s.own[c.Namespace]; s.all.On && !own {
			rulings = append(rulings, Ruling{c, Verdict{Hold: true}})
			continue
		}
		judge(c)
	}
	for namespace, standing := range s.own {
		if standing.On && !seen[namespace] {
			judge(t.Count(namespace))
		}
	}
	return rulings
}

// isMass says whether the missing leases, beside the living ones, are a mass lapse.
func isMass(missing, living int) bool {
	return missing >= MassCount && 100*missing > MassShare*(living+missing)
}
