package leases

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Self-preservation: when very many leases lapse at once, the network or the registry is the
// likelier culprit than the instances, and an empty catalog does more harm than a stale one.
//
// A namespace's fall is by how many its living leases became fewer, within a window, because leases lapsed: leases
// that begin or are renewed meanwhile make up for others that lapse. So instances that are abandoned one by one
// while others come never make a fall, however many a minute.
const (
	// MassShare is the share of the living leases, in percent, that a mass lapse exceeds.
	MassShare = 15
	// MassCount is the number of leases that a mass lapse has at least.
	MassCount = 10
	// PreserveFor is how long expiry is held at most, unless an operator holds it.
	PreserveFor = 15 * time.Minute
	// ChangeEvery is how far apart a namespace's starts and ends are at least.
	ChangeEvery = time.Minute

	// The window is half the ttl of what lapsed: when many instances fall silent together, their leases lapse
	// within the time between two of their heartbeats.
	minWindow = time.Second
	maxWindow = 30 * time.Second
)

// Preservation decides, for each namespace, whether expiry must hold. It has no clock and no lock: one goroutine uses it.
type Preservation struct {
	watched map[string]*watched
}

// watched is a namespace in which leases lapsed.
type watched struct {
	recent  []fall // of the last two windows at least, oldest first
	on      bool
	coming  bool      // a mass lapse was seen that the log does not tell of yet
	missing int       // while on or coming: leases that lapsed and are not made up for since
	began   time.Time // when it was first seen on
	changed time.Time // when it was last seen to start or end
	renewed time.Time // since when enough leases are renewed while it is on; zero: they are not
}

// fall is what one look found.
type fall struct {
	at        time.Time
	net       int // leases that lapsed, less those that joined; may be negative
	lapsed    int
	lapsedTTL time.Duration
}

// Verdict is what to do about a namespace's overdue leases.
type Verdict struct {
	Hold bool          // take none out now
	Wait time.Duration // take none out that is overdue for less than this: others may follow
	// Start and End ask for the event that says so; one of them at most is set.
	Start, End bool
	Cause      domain.PreservationEnd // of the end
	Seen       int                    // living leases
	Expected   int                    // those, and the ones that are missing
}

// Note takes in what happened to a namespace's leases since the last look.
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
	// Leases that began anew all together say nothing before their ttl is over.
	silent := now.Sub(grace) <= min(c.TTL+c.TTL/2, PreserveFor)
	if isMass(w.missing, living) || isMass(lost, living) || silent {
		w.renewed = time.Time{}
	} else if w.renewed.IsZero() {
		w.renewed = now
	}
	if now.Sub(w.changed) < ChangeEvery {
		return v
	}
	// Those that are not heard yet when most are get as long to be heard as a lease holds.
	if !w.renewed.IsZero() && now.Sub(w.renewed) >= min(c.TTL, 2*maxWindow) {
		v.End, v.Cause = true, domain.EndedRenewed
	} else if now.Sub(w.began) >= PreserveFor {
		v.End, v.Cause = true, domain.EndedTooLong
	}
	return v
}

// follow notes that the log says something else than at the last look.
func (w *watched) follow(s Standing, lost int, now time.Time) {
	if s.On == w.on {
		return
	}
	w.on, w.changed, w.renewed = s.On, now, time.Time{}
	if !s.On {
		w.recent = nil // what lapsed before does not start it again
		return
	}
	if !w.coming { // another node, or an operator, started it
		w.missing = lost
	}
	w.coming, w.began = false, now
	if ago := now.Sub(s.Since); ago > 0 && ago < PreserveFor { // it was on before this process started
		w.began, w.changed = s.Since, s.Since
	}
}

// lost is by how many more the living leases fell within the window that ends now than within the window before,
// and how long the window is. What falls on and on is no mass lapse.
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

// greatestFall is by how many the living leases are fewer at the end than they were at most before.
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
		rulings = append(rulings, Ruling{c, p.Judge(c, s.own[c.Namespace], grace, now)})
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

// isMass says whether so many leases that are missing beside so many that live are a mass lapse.
func isMass(missing, living int) bool {
	return missing >= MassCount && 100*missing > MassShare*(living+missing)
}
