package probes

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run looks at the instances until the context ends. Reports that were not taken then are dropped.
func (p *Prober) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	p.mu.Lock()
	p.context = ctx
	p.mu.Unlock()
	group.Go(func() error { return p.runTicks(ctx) })
	group.Go(func() error { return p.runReports(ctx) })
	err := group.Wait()
	p.looks.Wait()
	return err
}

// runTicks turns the wheel. While there is no check, nothing wakes the process.
func (p *Prober) runTicks(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.busy:
		}
		ticker := time.NewTicker(Tick)
		p.mu.Lock()
		p.ticked = p.opts.Now()
		p.mu.Unlock()
		var next <-chan time.Time // nil: no look waits to begin within the tick
		for idle, left := false, false; !idle; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return nil
			case <-ticker.C:
				idle, left = p.tick()
			case <-next:
				left = p.goOn()
			}
			if next = nil; left {
				next = time.After(Tick / spread)
			}
		}
		ticker.Stop()
	}
}

// tick queues the checks that are due, and lets their looks begin. idle says that there is no check any more, left that
// looks are left for goOn.
func (p *Prober) tick() (idle, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	if now.Sub(p.ticked) > stoodFor {
		p.stood = now
	}
	p.ticked = now
	p.wheel.advance(p.tickOf(now), p.queue)
	p.judge(now)
	left = p.startLooks()
	return len(p.mine) == 0 && p.running == 0, left
}

// goOn lets more looks begin of those that are due.
func (p *Prober) goOn() (left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startLooks()
}

// queue puts a check that is due to the end of its queue. REQUIRES: p is locked, as for the methods below.
func (p *Prober) queue(c *check) {
	p.ready[queueOf(c)].push(c)
	c.waits = inQuick + waiting(queueOf(c))
	p.due++
}

// queueFirst puts a check to the front of a queue.
func (p *Prober) queueFirst(c *check, queue int) {
	p.ready[queue].pushFront(c)
	c.waits = inQuick + waiting(queue)
	p.due++
}

func queueOf(c *check) int {
	if c.slow {
		return 1
	}
	return 0
}

// Looks that are due in the same tick do not begin all at once: hundreds of goroutines would keep everybody else waiting, and
// each would need a connection. A goroutine goes on with the next look, so for targets that answer soon a few are enough.
const (
	spread    = 5  // into so many parts the looks of a tick are divided
	fewAtOnce = 16 // so many are not divided
)

// startLooks lets a part of the looks begin that are due. left says that more may begin soon.
func (p *Prober) startLooks() (left bool) {
	for range max(fewAtOnce, p.due/spread) {
		if p.running >= p.opts.Concurrency {
			return false // who ends a look goes on with the next
		}
		c := p.nextDue()
		if c == nil {
			return false
		}
		p.beginLook(c)
		p.looks.Go(func() { p.work(p.context, c) })
	}
	return true
}

// nextDue takes the check that is due longest; nil: there is none that may begin. Checks that were slow have at most half
// of the looks, so that targets that hang do not delay the others.
func (p *Prober) nextDue() *check {
	quick, slow := p.ready[0].first, p.ready[1].first
	if p.slow >= max(p.opts.Concurrency/2, 1) {
		slow = nil
	}
	c := quick
	if quick == nil || slow != nil && slow.due < quick.due {
		c = slow
	}
	if c != nil {
		p.unqueue(c)
	}
	return c
}

// unqueue takes a check out of the list in which it waits, if it waits.
func (p *Prober) unqueue(c *check) {
	switch c.waits {
	case inWheel:
		p.wheel.remove(c)
	case inQuick, inSlow:
		p.ready[c.waits-inQuick].remove(c)
		p.due--
	}
	c.waits = nowhere
}

// sinceLook is how long before a moment the newest look began, about.
func (p *Prober) sinceLook(c *check, now time.Time) time.Duration {
	return time.Duration(uint32(p.tickOf(now))-c.looked) * Tick
}

func (p *Prober) beginLook(c *check) {
	now := p.opts.Now()
	if now.Sub(p.began.Add(time.Duration(c.due)*Tick)) > lateAfter {
		p.opts.Observer.Late()
	}
	c.looking = true
	c.looked = uint32(p.tickOf(now))
	p.running++
	p.slow += queueOf(c)
}

// buffers are the buffers of answers, of maxBody bytes. A goroutine mostly carries out one look, and most answers are shorter
// than their buffer by far.
var buffers = sync.Pool{New: func() any { return new([maxBody]byte) }}

// work carries out looks until none is due. What a look found is in the buffer until the next look.
func (p *Prober) work(ctx context.Context, c *check) {
	array := buffers.Get().(*[maxBody]byte)
	defer buffers.Put(array)
	buffer := array[:]
	for c != nil {
		p.mu.Lock()
		address, target, began, queue := c.of.address, c.target(), p.opts.Now(), queueOf(c)
		p.mu.Unlock()
		f := p.opts.Look(ctx, &target, address, buffer)
		p.mu.Lock()
		p.running--
		p.slow -= queue
		c.looking = false
		if ctx.Err() == nil {
			p.looked(c, &target, f, began)
		}
		if c = p.nextDue(); c != nil && p.running < p.opts.Concurrency && ctx.Err() == nil {
			p.beginLook(c)
		} else if c != nil {
			p.queueFirst(c, queueOf(c))
			c = nil
		}
		p.mu.Unlock()
	}
}

// looked notes the result of a look, and schedules the next.
func (p *Prober) looked(c *check, t *Target, f Finding, began time.Time) {
	result := p.resultOf(t, f, began)
	p.opts.Observer.Looked(c.of.service.Value(), t.Kind.String(), result, f.Took)
	if c.gone || c.place < 0 { // the result is nobody's any more
		p.hold.left(c)
		return
	}
	interval := c.test.interval
	if result == Void {
		p.hold.left(c)
		p.schedule(c, min(interval, time.Second))
		return
	}
	c.slow = errors.Is(f.Err, context.DeadlineExceeded)
	c.silent = result == Unanswered
	saw := critical
	switch result {
	case Passed:
		saw = passing
	case Warned:
		saw = warning
	}
	decided := c.sees(saw)
	p.hold.saw(c)
	if !c.silent {
		p.hold.forget(c)
	}
	switch {
	case !decided || c.status == saw:
	case c.silent:
		p.suspect(c, t.Words(f), f.Took)
	default: // the target answered: a failure is not this node's
		p.report(c, saw, t.Words(f), f.Took)
	}
	p.again(c, interval)
}

// again schedules the next look: an interval after this one was due, give or take a little, so that looks that began
// together do not stay together. The phase of a check whose first look came soon is drawn now.
func (p *Prober) again(c *check, interval time.Duration) {
	if !c.spread {
		c.spread = true
		p.schedule(c, interval/2+rand.N(interval/2))
		return
	}
	late := time.Duration(0)
	if due := p.began.Add(time.Duration(c.due) * Tick); c.due > 0 {
		late = min(max(p.opts.Now().Sub(due), 0), interval/2)
	}
	p.schedule(c, max(interval-late-interval/64+rand.N(interval/32+1)-Tick/2, Tick))
}

// resultOf says what a look tells of the target. A look during which the process stood still tells nothing, unless the
// target passed: its answer may have come in time, and the process may have seen the end of its own deadline only.
func (p *Prober) resultOf(t *Target, f Finding, began time.Time) string {
	now := p.opts.Now()
	stood := now.Sub(p.ticked) > stoodFor || !p.stood.Before(began) || f.Took > t.Timeout+stoodFor
	switch {
	case f.Passed:
		return Passed
	case f.Warned:
		return Warned
	case stood || ours(f.Err):
		return Void
	case errors.As(f.Err, new(refused)):
		return Refused
	case f.answered():
		return Failed
	case began.Before(p.hold.ended): // while the network was away
		return Void
	}
	return Unanswered
}
