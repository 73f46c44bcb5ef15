// Package pick chooses the instance of a service that gets the next request.
//
// A Balancer is given the instances of a service and the outcomes of requests. It picks ready instances only. The policy
// says which: see Policy. With a zone it prefers instances of the zone, with a subset it uses a part of the instances, and
// with outlier ejection it leaves out instances whose requests fail.
//
// Picking takes no lock and allocates no memory: a change of the instances makes a new table.
package pick

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Policy says which instance is picked.
type Policy string

// The policies. An instance of weight 0 is picked only where no ready instance has a weight.
const (
	// RoundRobin picks one instance after the other, without regard to weights.
	RoundRobin Policy = "round-robin"
	// WeightedRandom picks at random, in proportion to the weights.
	WeightedRandom Policy = "weighted-random"
	// LeastLoaded picks two instances at random and takes the one with the smaller load: outstanding requests times
	// latency, by weight.
	LeastLoaded Policy = "least-loaded"
	// Rendezvous picks by a key: equal keys go to one instance, in proportion to the weights. When an instance leaves or
	// comes, only its own keys move.
	Rendezvous Policy = "rendezvous"
)

// Options are the options of a Balancer. The zero value is usable.
type Options struct {
	Policy Policy // "": RoundRobin
	Port   string // name of the port; "": http, or else the only port

	// Zone is the zone of this process. As long as enough of the zone's instances are ready, all requests go to them: with
	// Overprovision 1.4, at least 1/1.4 of them. Below, a part in proportion spills over to other zones. "": zones do not
	// matter.
	Zone          string
	Overprovision float64 // 0: 1.4

	// Subset is how many instances this process uses, of its zone and of the other zones each; 0: all. Subsets of many
	// processes spread evenly, and change little when instances come and go.
	Subset    int
	SubsetKey string // tells this process from others; "": random

	Outliers Outliers
}

// Outliers says when an instance whose requests fail is left out for a while. The zero value has the defaults.
type Outliers struct {
	Off      bool          // no instance is left out
	Failures int           // so many failures in a row; 0: 5
	Ejection time.Duration // for how long, longer each time up to ten times; 0: 10s
	MaxShare float64       // of the ready instances, at most so many are left out; 0: 0.5
}

// ErrNone says that no instance of the service is ready.
var ErrNone = errors.New("no instance is ready")

// Endpoint is a ready instance that can be picked.
type Endpoint struct {
	Instance *wire.Instance
	Address  string // host:port
	hash     uint64
	*load

	// next is the endpoint of the same instance in the newest table. Only rebuild uses it.
	next *Endpoint
}

// load is what is known of the requests to an instance. It outlives changes of the instance's details.
type load struct {
	balancer    *Balancer
	outstanding atomic.Int64
	latency     atomic.Uint64 // moving average, in nanoseconds; 0: not known
	ended       atomic.Int64  // when the newest request ended, nanoseconds since the balancer was made
	failures    atomic.Int32  // in a row

	// The fields below belong to the Balancer's mu.

	ejections int       // in a row
	until     time.Time // the instance is left out until then
}

// Balancer picks instances of one service. Several goroutines may use it.
type Balancer struct {
	options Options
	began   time.Time
	subset  uint64 // hash of SubsetKey
	table   atomic.Pointer[table]
	turn    atomic.Uint64
	clock   atomic.Int64 // when the newest request ended: an idle balancer needs no better one

	mu        sync.Mutex
	instances []*wire.Instance
	loads     map[loadKey]*load
	timer     *time.Timer // looks again when an ejection ends
}

// loadKey names a registration at an address: a successor begins with a clean slate.
type loadKey struct {
	key     domain.Key
	epoch   uint64
	address string
}

// New is a Balancer without instances.
func New(options Options) *Balancer {
	options.Policy = cmp.Or(options.Policy, RoundRobin)
	options.Overprovision = cmp.Or(options.Overprovision, 1.4)
	o := &options.Outliers
	o.Failures, o.Ejection, o.MaxShare = cmp.Or(o.Failures, 5), cmp.Or(o.Ejection, 10*time.Second), cmp.Or(o.MaxShare, 0.5)
	b := &Balancer{options: options, began: time.Now(), loads: map[loadKey]*load{}, subset: rand.Uint64()}
	if options.SubsetKey != "" {
		b.subset = hash(options.SubsetKey)
	}
	b.turn.Store(rand.Uint64N(1 << 32)) // processes that start at once begin with different instances
	b.table.Store(&table{})
	return b
}

// Pick picks an instance. The error is ErrNone.
func (b *Balancer) Pick() (*Endpoint, error) {
	t := b.table.Load()
	g := &t.near
	if len(t.far.endpoints) > 0 {
		g = t.group(rand.Uint64())
	}
	if len(g.endpoints) == 0 {
		return nil, ErrNone
	}
	switch b.options.Policy {
	case WeightedRandom:
		return g.weighted(rand.Uint64()), nil
	case LeastLoaded:
		return g.leastLoaded(rand.Uint64(), b.clock.Load()), nil
	case Rendezvous:
		return g.ring.owner(rand.Uint64()), nil
	}
	return g.endpoints[b.turn.Add(1)%uint64(len(g.endpoints))], nil
}

// PickKey picks an instance by a key, such as a user's id, where the policy is Rendezvous. Other policies do not use the
// key.
func (b *Balancer) PickKey(key string) (*Endpoint, error) {
	if b.options.Policy != Rendezvous {
		return b.Pick()
	}
	h := hash(key)
	g := b.table.Load().group(mix(h))
	if len(g.endpoints) == 0 {
		return nil, ErrNone
	}
	return g.ring.owner(h), nil
}

// PickOther picks an instance that is not one of those that were tried. The error is ErrNone.
func (b *Balancer) PickOther(key string, tried []*Endpoint) (*Endpoint, error) {
	k := rand.Uint64()
	if key != "" {
		k = hash(key)
	}
	return b.table.Load().other(k, b.turn.Add(1), tried)
}

// Len is how many instances can be picked.
func (b *Balancer) Len() int {
	t := b.table.Load()
	return len(t.near.endpoints) + len(t.far.endpoints)
}

// Update gives the Balancer all instances of the service, ready or not. The caller must not change them afterwards.
func (b *Balancer) Update(instances []*wire.Instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.instances = instances
	b.rebuild(time.Now())
}

// Begin notes that a request to the instance begins. Each Begin needs one Done.
func (l *load) Begin() { l.outstanding.Add(1) }

// Done notes that a request that began has ended, and how long it took until the reply began. failed says that the
// instance is to blame, e.g. that it refused the connection.
func (l *load) Done(took time.Duration, failed bool) {
	l.outstanding.Add(-1)
	now := int64(time.Since(l.balancer.began)) // a step of the wall clock makes no latency older
	l.ended.Store(now)
	l.balancer.clock.Store(now)
	if failed {
		took = max(took, penalty) // a failure is quick: it must not look like a good answer
	}
	for {
		old := l.latency.Load()
		next := uint64(max(took, 1))
		if old != 0 {
			next = old - old/smooth + next/smooth
		}
		if l.latency.CompareAndSwap(old, max(next, 1)) {
			break
		}
	}
	if !failed {
		if l.failures.Load() != 0 {
			l.failures.Store(0)
			l.balancer.succeeded(l)
		}
		return
	}
	o := &l.balancer.options.Outliers
	if n := l.failures.Add(1); !o.Off && int(n) >= o.Failures {
		l.failures.Store(0)
		l.balancer.eject(l)
	}
}

const (
	smooth  = 8                      // the weight of a new latency is 1/smooth
	penalty = 500 * time.Millisecond // the least latency of a failure
	forget  = 5 * time.Second        // an unused latency counts half after so long
)

// Outstanding is how many requests to the instance are under way.
func (l *load) Outstanding() int64 { return l.outstanding.Load() }

func (b *Balancer) succeeded(l *load) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.ejections = 0
}

// eject leaves an instance out for a while, unless too many are left out already.
func (b *Balancer) eject(l *load) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	out, ready := 1, 0
	for _, i := range b.instances {
		one, ok := b.loads[b.loadKey(i)]
		if !Ready(i) || !ok {
			continue
		}
		ready++
		if one != l && one.until.After(now) {
			out++
		}
	}
	if float64(out) > b.options.Outliers.MaxShare*float64(ready) {
		return
	}
	l.ejections++
	l.until = now.Add(b.options.Outliers.Ejection * time.Duration(min(l.ejections, 10)))
	b.rebuild(now)
}

// Ready says whether an instance may get traffic: it is fit for it, or its service panics (wire.Instance.Given).
func Ready(i *wire.Instance) bool { return i.Given() }
