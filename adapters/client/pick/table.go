package pick

import (
	"cmp"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// table is what can be picked. It never changes.
type table struct {
	near, far group  // without a zone, all are near
	share     uint64 // of hashes that go to the near ones: those up to it
}

// group is the instances of one side of the table.
type group struct {
	endpoints []*Endpoint
	ring      *ring     // of Rendezvous; nil: another policy
	weights   []float64 // nil: all are equal
	// The alias method: a random endpoint is taken if a random number is at most its limit, or else its alias.
	limits  []uint32
	aliases []int32
}

// group is the side to which a hash goes.
func (t *table) group(hash uint64) *group {
	if len(t.far.endpoints) == 0 || len(t.near.endpoints) > 0 && hash <= t.share {
		return &t.near
	}
	return &t.far
}

// rebuild makes the table anew. REQUIRES: the caller holds mu.
func (b *Balancer) rebuild(now time.Time) {
	loads := make(map[loadKey]*load, len(b.instances))
	var near, far []*Endpoint
	var total, ready int // of the zone
	var next time.Time
	for _, i := range b.instances {
		local := b.options.Zone == "" || i.Zone == b.options.Zone
		if local {
			total++
		}
		address, ok := Address(i, b.options.Port)
		if !Ready(i) || !ok {
			continue
		}
		key := b.loadKey(i)
		l := b.loads[key]
		if l == nil {
			l = &load{balancer: b}
		}
		loads[key] = l
		if l.until.After(now) {
			if next.IsZero() || l.until.Before(next) {
				next = l.until
			}
			continue
		}
		e := &Endpoint{Instance: i, Address: address, hash: hash(i.Service + "/" + i.ID), load: l}
		if local {
			ready++
			near = append(near, e)
		} else {
			far = append(far, e)
		}
	}
	b.loads = loads
	last := b.table.Load()
	t := &table{near: b.group(last.near.ring, near), far: b.group(last.far.ring, far), share: math.MaxUint64}
	if total > 0 {
		if share := b.options.Overprovision * float64(ready) / float64(total); share < 1 {
			t.share = uint64(share * math.MaxUint64)
		}
	}
	b.table.Store(t)
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if !next.IsZero() {
		b.timer = time.AfterFunc(next.Sub(now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.rebuild(time.Now())
		})
	}
}

func (b *Balancer) loadKey(i *wire.Instance) loadKey {
	address, _ := Address(i, b.options.Port)
	return loadKey{i.Key(), i.Epoch, address}
}

// group makes a group of the subset of some endpoints that have a weight. before is the ring of the group until now.
func (b *Balancer) group(before *ring, all []*Endpoint) (g group) {
	weightless := func(e *Endpoint) bool { return e.Instance.Weight == 0 }
	if slices.ContainsFunc(all, func(e *Endpoint) bool { return !weightless(e) }) {
		all = slices.DeleteFunc(all, weightless)
	}
	if b.options.Subset > 0 && len(all) > b.options.Subset {
		slices.SortFunc(all, func(x, y *Endpoint) int { return cmp.Compare(mix(x.hash^b.subset), mix(y.hash^b.subset)) })
		all = all[:b.options.Subset]
	}
	slices.SortFunc(all, func(x, y *Endpoint) int { return cmp.Compare(x.Instance.ID, y.Instance.ID) })
	g.endpoints = all
	if b.options.Policy == Rendezvous {
		g.ring = before.with(all)
		return g
	}
	equal := true
	for _, e := range all {
		g.weights = append(g.weights, float64(max(e.Instance.Weight, 1)))
		equal = equal && e.Instance.Weight == all[0].Instance.Weight
	}
	if equal {
		g.weights = nil
		return g
	}
	g.makeAliases()
	return g
}

// makeAliases prepares the alias method (Vose): each endpoint is one of n equal parts, and gives what it has too much of
// its part to one that has too little.
func (g *group) makeAliases() {
	n := len(g.weights)
	sum := 0.0
	for _, w := range g.weights {
		sum += w
	}
	g.limits, g.aliases = make([]uint32, n), make([]int32, n)
	parts := make([]float64, n)
	var small, large []int32
	for i, w := range g.weights {
		parts[i] = w * float64(n) / sum
		if parts[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		g.limits[s], g.aliases[s] = uint32(parts[s]*math.MaxUint32), l
		parts[l] -= 1 - parts[s]
		if parts[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		g.limits[i], g.aliases[i] = math.MaxUint32, i
	}
}

// weighted is a random endpoint, in proportion to the weights.
func (g *group) weighted(random uint64) *Endpoint {
	i := int32(uint64(uint32(random)) * uint64(len(g.endpoints)) >> 32)
	if g.weights != nil && uint32(random>>32) > g.limits[i] {
		i = g.aliases[i]
	}
	return g.endpoints[i]
}

// leastLoaded is the less loaded of two random endpoints.
func (g *group) leastLoaded(random uint64, now int64) *Endpoint {
	n := uint64(len(g.endpoints))
	i := uint64(uint32(random)) * n >> 32
	if n == 1 {
		return g.endpoints[0]
	}
	j := (random >> 32) * (n - 1) >> 32 // of the others
	if j >= i {
		j++
	}
	x, y := g.endpoints[i], g.endpoints[j]
	if y.score(now) < x.score(now) {
		return y
	}
	return x
}

// score is the load of an endpoint, by its weight.
func (e *Endpoint) score(now int64) float64 {
	latency := e.latency.Load()
	if idle := now - e.ended.Load(); idle > int64(forget) {
		latency >>= min(uint64(idle)/uint64(forget), 63)
	}
	return float64(e.outstanding.Load()+1) * float64(latency+1) / float64(max(e.Instance.Weight, 1))
}

// other is an endpoint that was not tried, near ones first: the one with the highest hash for the key, which is the next
// of Rendezvous with equal weights.
func (t *table) other(key, turn uint64, tried []*Endpoint) (*Endpoint, error) {
	for _, g := range []*group{&t.near, &t.far} {
		var best *Endpoint
		var highest uint64
		for _, e := range g.endpoints {
			if slices.ContainsFunc(tried, func(one *Endpoint) bool { return one.Address == e.Address }) {
				continue
			}
			if u := mix(e.hash ^ key); best == nil || u > highest {
				highest, best = u, e
			}
		}
		if best != nil {
			return best, nil
		}
	}
	return nil, ErrNone
}

// Address is where an instance serves a port: the named port, or with "" http, or else the only port. ok is false where
// there is no such port.
func Address(i *wire.Instance, port string) (address string, ok bool) {
	number, ok := i.Ports[cmp.Or(port, "http")]
	if !ok && port == "" && len(i.Ports) == 1 {
		for _, number = range i.Ports {
			ok = true
		}
	}
	return net.JoinHostPort(i.Address, strconv.Itoa(int(number))), ok
}

// hash is a 64-bit hash of a text, the same in every process (FNV-1a, mixed).
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mix(h)
}

// mix spreads the bits of a number (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}
