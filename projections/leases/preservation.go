package leases

import "time"

// Self-preservation: when very many leases lapse at once, the network or the registry is the
// likelier culprit than the instances, and an empty catalog does more harm than a stale one.
const (
	// RenewalThreshold is the share of leases that must be renewed in time.
	RenewalThreshold = 0.85
	// ExemptBelow is the number of leases below which there is no self-preservation: of a few
	// leases, one that lapses is a large share.
	ExemptBelow = 10
	// ExpiryWindow is how long an expired lease counts as not renewed, so that leases which lapse
	// one after the other are seen together.
	ExpiryWindow = time.Minute
	// PreserveFor is how long an overdue lease is kept at most: what stays silent longer is gone,
	// and counts neither way any more.
	PreserveFor = 15 * time.Minute
)

// Preservation decides whether expiry must hold. It is used by one goroutine.
type Preservation struct {
	expired []expiries // within the window, oldest first
}

type expiries struct {
	at    time.Time
	count int
}

// Renewals is what a judgement rests on.
type Renewals struct {
	Seen     int // leases renewed within their ttl
	Expected int // leases that should have been
}

// Enough says whether renewals reach the threshold, or are too few to judge by.
func (r Renewals) Enough() bool {
	return r.Expected < ExemptBelow || float64(r.Seen) >= RenewalThreshold*float64(r.Expected)
}

// Count adds up renewals: of so many leases so many are overdue, besides those expired lately.
func (p *Preservation) Count(leases, overdue int, now time.Time) Renewals {
	lately := 0
	kept := p.expired[:0]
	for _, e := range p.expired {
		if now.Sub(e.at) < ExpiryWindow {
			kept = append(kept, e)
			lately += e.count
		}
	}
	p.expired = kept
	return Renewals{Seen: leases - overdue, Expected: leases + lately}
}

// Expired notes that so many leases expired.
func (p *Preservation) Expired(count int, now time.Time) {
	if count > 0 {
		p.expired = append(p.expired, expiries{now, count})
	}
}

// Forgotten says whether an overdue lease has been kept for as long as any is.
func (l Lease) Forgotten(now time.Time) bool { return now.Sub(l.Deadline) > PreserveFor }
