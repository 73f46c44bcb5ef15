// Package probes looks at instances: it sends the requests that their checks ask for, and reports what changed.
//
// A node probes the instances that are its own (Nodes), each at its interval, on a timing wheel. A look that fails or
// passes often enough in a row changes the check, and only then something is reported. The package promises that a report
// is what the target did, not what the registry did: a look during which the process stood still counts for nothing, a
// node whose probes mostly get no answer holds back (hold.go), and a node that is not the instance's any more reports
// nothing. What a change means for the instance is decided by the domain.
package probes

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/rollcall-registry/rollcall/domain"
)

// Instance is an instance with the checks of it that are probed.
type Instance struct {
	Key     domain.Key
	Epoch   uint64
	Address string
	Checks  []Check
}

// Check is a check that is probed.
type Check struct {
	ID        string
	Revision  uint64 // of its definition
	Target    Target
	Interval  time.Duration
	Failures  int           // in a row that make it critical; 0: 1
	Successes int           // in a row that make it pass; 0: 1
	Status    domain.Status // the present one
}

// Report is a change of a check.
type Report struct {
	Key      domain.Key
	Epoch    uint64
	Check    string
	Revision uint64 // of the definition that was looked at
	Address  string // of the instance that was looked at
	Port     uint16 // of the target; 0: the instance lacks the port that the check names
	Status   domain.Status
	Output   string
	Took     time.Duration // the newest look
	Looks    int           // in a row with this result
}

// Command is the command by which a node states the report.
func (r *Report) Command(by string) domain.ReportProbe {
	return domain.ReportProbe{
		Key: r.Key, Epoch: r.Epoch, Check: r.Check, Revision: r.Revision, Address: r.Address, Port: r.Port,
		Status: r.Status, Output: r.Output, By: by, Latency: r.Took, Looks: r.Looks,
	}
}

// Options say how a Prober works.
type Options struct {
	// Look carries out a look, as Looker.Look does.
	Look func(ctx context.Context, t *Target, address string, buffer []byte) Finding
	// Report tells of changes of different instances, and gives an error for each that was not taken.
	Report func(ctx context.Context, reports []Report) []error
	// Mine says whether this node probes an instance now. It is asked again right before a report.
	Mine        func(domain.Key) bool
	Observer    Observer
	Now         func() time.Time
	Logger      *slog.Logger
	Concurrency int           // looks at once; 0: DefaultConcurrency
	HoldFor     time.Duration // the longest time for which failures are held; 0: DefaultHold
}

// Observer is told what happens. Its methods may be called from any goroutine.
type Observer interface {
	// Looked tells of a look: passed, failed (there was an answer, but another one than wanted), unanswered, refused (the
	// target is not allowed) or void (the registry itself stood still or had no free connection).
	Looked(service domain.ServiceKey, kind, result string, took time.Duration)
	// Late tells of a look that began more than a second after it was due.
	Late()
}

// The results of looks, as an Observer is told of them.
const (
	Passed     = "passed"
	Warned     = "warned"
	Failed     = "failed"
	Unanswered = "unanswered"
	Refused    = "refused"
	Void       = "void"
)

// Results are all results.
var Results = [...]string{Passed, Warned, Failed, Unanswered, Refused, Void}

// DefaultConcurrency is how many looks are under way at once at most.
const DefaultConcurrency = 512

const (
	lateAfter = time.Second            // a look that begins so much after it was due is late
	stoodFor  = 400 * time.Millisecond // the process stood still if a tick came so much after the one before
	soon      = 200 * time.Millisecond // within which a new check is looked at
	freshFor  = 5 * time.Second        // a report that waited longer is dropped; the next look makes another
)

// A batch of reports is small, so that it does not delay heartbeats, while the registry keeps up with the changes. Where it does
// not, because the machine is busy, larger batches need fewer turns of the processor for as many changes.
const (
	reportFew  = 32
	reportMany = 400
	reportPart = 8 // of the reports that wait, between the two
)

// Prober looks at instances. Any goroutine may call its methods.
type Prober struct {
	opts  Options
	began time.Time

	mu        sync.Mutex
	instances instances
	tests     tests
	mine      []*check // the checks of this node, in no order
	wheel     wheel
	ready     [2]list // checks that are due: those that answer, and those that were slow when they were last looked at
	due       int     // how many they are
	running   int     // looks under way
	slow      int     // of these, those of the second list
	ticked    time.Time
	stood     time.Time // when the process last went on after it stood still
	hold      hold
	reports   []pending
	wake      chan struct{} // holds a token while there is a report; never closed
	busy      chan struct{} // holds a token when the first check came; never closed
	looks     sync.WaitGroup
	context   context.Context // of the looks; ends with Run
}

type pending struct {
	check *check
	Report
	at time.Time
}

// New makes a Prober without instances.
func New(o Options) *Prober {
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.HoldFor == 0 {
		o.HoldFor = DefaultHold
	}
	now := o.Now()
	return &Prober{
		opts: o, began: now, instances: newInstances(), tests: tests{make(map[question]*test), make(map[time.Duration]int)},
		ticked: now, wake: make(chan struct{}, 1), busy: make(chan struct{}, 1), context: context.Background(),
	}
}

// Set tells of an instance that is registered or has changed. fresh says that it changed just now, so that its checks are
// looked at soon; otherwise the first looks are spread over the interval.
func (p *Prober) Set(i Instance, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.instances.find(i.Key)
	if len(i.Checks) == 0 {
		p.remove(was)
		return
	}
	now := &instance{service: unique.Make(i.Key.ServiceKey()), id: i.Key.ID, epoch: i.Epoch, address: i.Address}
	mine := p.opts.Mine(i.Key)
	for at := range slices.Backward(i.Checks) {
		c := &i.Checks[at]
		kept, test := was.take(c.ID), p.tests.take(c)
		if kept == nil || kept.test != test || kept.revision != c.Revision || kept.host() != c.Target.Host || kept.port != c.Target.Port || was.address != i.Address || was.epoch != i.Epoch {
			p.drop(kept)
			kept = &check{test: test, place: -1}
		} else {
			p.tests.release(test) // the check is counted already
		}
		kept.of, kept.port = now, c.Target.Port
		kept.name(c.ID, c.Target.Host)
		kept.revision, kept.status = c.Revision, levelOf(c.Status)
		kept.sibling, now.first = now.first, kept
		p.claim(kept, mine, within(kept.test.interval, fresh), fresh)
	}
	if was != nil {
		for c := was.first; c != nil; c = c.sibling {
			p.drop(c)
		}
	}
	p.instances.set(now)
}

// Remove tells of an instance that ended.
func (p *Prober) Remove(key domain.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(p.instances.find(key))
}

// Rebalance asks for every instance again whether it is this node's.
func (p *Prober) Rebalance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.instances.all {
		mine := p.opts.Mine(i.key())
		for c := i.first; c != nil; c = c.sibling {
			p.claim(c, mine, takenOverWithin(c.test.interval), false)
		}
	}
}

// Next is when a check is looked at next, as far as this node knows.
func (p *Prober) Next(key domain.Key, id string) (at time.Time, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.instances.find(key)
	if i == nil {
		return time.Time{}, false
	}
	for c := i.first; c != nil; c = c.sibling {
		if c.id() == id && c.place >= 0 && !c.looking {
			return p.began.Add(time.Duration(c.due) * Tick), true
		}
	}
	return time.Time{}, false
}

// Shortest is the shortest interval of all checks, also of those that are another node's; 0: there is no check.
func (p *Prober) Shortest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tests.shortest()
}

// Numbers are what a Prober is doing now.
type Numbers struct {
	Checks   int // that this node looks at
	InFlight int // looks under way
	Waiting  int // reports that were not taken yet
	Held     int // checks whose failure is held back
	Holding  bool
	Since    time.Time // while it is holding
}

// Numbers counts.
func (p *Prober) Numbers() Numbers {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := Numbers{Checks: len(p.mine), InFlight: p.running, Waiting: len(p.reports), Held: len(p.hold.suspects), Holding: p.hold.on}
	if n.Holding {
		n.Since = p.hold.since
	}
	return n
}

// take removes the check of that id from the instance.
func (i *instance) take(id string) *check {
	if i == nil {
		return nil
	}
	for at := &i.first; *at != nil; at = &(*at).sibling {
		if c := *at; c.id() == id {
			*at, c.sibling = c.sibling, nil
			return c
		}
	}
	return nil
}

// remove forgets an instance. REQUIRES: p is locked, as for the methods below.
func (p *Prober) remove(i *instance) {
	if i == nil {
		return
	}
	for c := i.first; c != nil; c = c.sibling {
		p.drop(c)
	}
	p.instances.remove(i.key())
}

func (p *Prober) drop(c *check) {
	if c == nil {
		return
	}
	c.gone = true
	p.disclaim(c)
	p.tests.release(c.test)
}

// within is how soon a check is looked at first, at the latest.
func within(interval time.Duration, fresh bool) time.Duration {
	if fresh {
		return min(interval, soon)
	}
	return interval
}

// claim begins to look at a check, within a time, or ends it. fresh says that the check's phase is drawn after its first look.
func (p *Prober) claim(c *check, mine bool, within time.Duration, fresh bool) {
	switch {
	case !mine:
		p.disclaim(c)
	case c.place < 0:
		c.place = int32(len(p.mine))
		p.mine = append(p.mine, c)
		c.beginAnew()
		c.spread = !fresh
		if !c.looking { // otherwise the end of the look schedules the next
			p.schedule(c, rand.N(within))
		}
		if len(p.mine) == 1 {
			select {
			case p.busy <- struct{}{}:
			default: // the channel holds a token
			}
		}
	}
}

func (p *Prober) disclaim(c *check) {
	p.unqueue(c)
	if c.place < 0 {
		return
	}
	last := p.mine[len(p.mine)-1]
	p.mine[c.place], last.place = last, c.place
	p.mine[len(p.mine)-1] = nil
	p.mine = p.mine[:len(p.mine)-1]
	c.place = -1
	p.hold.forget(c)
}

// schedule has a check looked at after a while.
func (p *Prober) schedule(c *check, after time.Duration) {
	p.unqueue(c)
	c.due = p.tickOf(p.opts.Now().Add(after)) + 1
	p.wheel.add(c)
}

func (p *Prober) tickOf(t time.Time) int64 { return int64(t.Sub(p.began) / Tick) }
