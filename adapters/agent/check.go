package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Look looks once at what a check names, and ends within the check's timeout: passing, warning or critical. output says in
// words what was seen.
type Look func(ctx context.Context, c domain.Check, d domain.Details) (saw domain.Status, output string)

// Checks runs the checks of an instance on this machine, and says what its status is: the worst of all checks.
type Checks struct {
	Checks  []domain.Check // normalized; of the kinds http, tcp and grpc
	Details domain.Details // of the instance
	Look    Look
	// Report is called with the status of the instance and the words of the check that is to blame: first when all checks
	// have answered or one is critical, and then after each change. One call at a time. It must not block. nil: no call.
	Report func(status domain.Status, output string)
	// Looked is called after each look at a check (its number in Checks) that has a status, with the status that the check
	// has after the look, and what was seen when it got that status. One call at a time. It must not block. nil: no call.
	Looked func(n int, status domain.Status, output string)

	mu       sync.Mutex
	statuses []domain.Status // of the checks
	outputs  []string
	answered []bool        // enough looks agreed to give the check a status
	reported domain.Status // "": nothing was reported
}

// Run runs the checks until the context ends.
func (c *Checks) Run(ctx context.Context) {
	c.statuses, c.outputs, c.answered = make([]domain.Status, len(c.Checks)), make([]string, len(c.Checks)), make([]bool, len(c.Checks))
	for n := range c.Checks {
		c.statuses[n] = c.Checks[n].Initial()
	}
	var group sync.WaitGroup
	for n := range c.Checks {
		group.Go(func() { c.run(ctx, n) })
	}
	group.Wait()
}

// tick is what looks are put on, so that the looks of many checks wake the process together: waking costs more than looking.
const tick = 200 * time.Millisecond

// run runs one check. Its looks begin at a random time within a tenth of its interval, so that the checks of an agent that
// has started do not all look at once.
func (c *Checks) run(ctx context.Context, n int) {
	check := &c.Checks[n]
	interval := time.Duration(check.Interval)
	sleep(ctx, rand.N(interval/10+1))
	var streak domain.Streak
	for ctx.Err() == nil {
		saw, output := c.Look(ctx, *check, c.Details)
		if ctx.Err() != nil {
			return
		}
		var decided bool
		if streak, decided = streak.After(*check, saw); decided {
			c.set(n, saw, output)
		}
		c.looked(n)
		next := time.Now().Add(interval - interval/20 + rand.N(interval/10+1))
		sleep(ctx, time.Until(next.Truncate(tick).Add(tick)))
	}
}

// looked tells of a look. What a check begins with is no answer, so nothing is told before the first one.
func (c *Checks) looked(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Looked != nil && c.answered[n] {
		c.Looked(n, c.statuses[n], c.outputs[n])
	}
}

// set sets the status of a check, and reports that of the instance if it changed.
func (c *Checks) set(n int, status domain.Status, output string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := c.statuses[n] == status
	if !same || !c.answered[n] {
		c.statuses[n], c.outputs[n], c.answered[n] = status, domain.CleanOutput(output), true
	}
	if same {
		return
	}
	blamed := n
	for i, s := range c.statuses {
		if rank(s) > rank(c.statuses[blamed]) {
			blamed = i
		}
	}
	worst := c.statuses[blamed]
	if c.Report == nil || worst == domain.Starting || worst == c.reported {
		return
	}
	c.reported = worst
	words := c.outputs[blamed]
	if len(c.Checks) > 1 {
		words = c.Checks[blamed].ID + ": " + words
	}
	c.Report(worst, domain.CleanOutput(words))
}

// rank orders statuses from good to bad. One that is not known yet is worse than any but critical.
func rank(s domain.Status) int {
	switch s {
	case domain.Passing:
		return 0
	case domain.Warning:
		return 1
	case domain.Starting:
		return 2
	}
	return 3
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
