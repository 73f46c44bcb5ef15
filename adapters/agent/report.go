package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Limits and pauses of reports.
const (
	reportsAtOnce  = 500     // of one request
	reportBytes    = 1 << 20 // of the outputs in one request: escapes may make them six times as long, and a registry takes 8 MiB
	reportsPerTTL  = 3
	firstPause     = 250 * time.Millisecond // after a failure; the next ones grow
	longestPause   = 5 * time.Second        // after a request that failed
	longestRefusal = 30 * time.Second       // after a report that was refused
)

// reports tells the registry what was seen at the checks of all instances: a status that changed at once, and one that
// stays in time for the check's ttl. One request carries all reports that are due.
//
// INVARIANT: a report states what a look has seen since the report before. The agent passes no check at which nobody looked.
type reports struct {
	client *client.Client
	owner  string
	logger *slog.Logger
	wake   chan struct{} // holds a token when run must look again; never closed

	mu     sync.Mutex
	checks map[*reported]struct{}
}

// reported is a check whose status is reported. Its fields but key, check, ttl and kept belong to the mu of reports.
type reported struct {
	key   domain.Key
	check string // its id
	ttl   time.Duration
	kept  *client.Kept

	status   domain.Status // after the newest look; "": nobody has looked
	output   string
	looked   bool          // since the newest report
	told     domain.Status // what the registry has carried out; "": nothing
	epoch    uint64        // in which told was carried out
	due      time.Time     // of the next report, if the status stays
	retry    time.Time     // nothing is reported before
	failures int           // in a row
}

func newReports(c *client.Client, owner string, logger *slog.Logger) *reports {
	return &reports{client: c, owner: owner, logger: logger, wake: make(chan struct{}, 1), checks: map[*reported]struct{}{}}
}

// begin begins to report the checks of an instance. end ends that.
func (r *reports) begin(d Definition, kept *client.Kept) (looked func(n int, status domain.Status, output string), end func()) {
	all := make([]*reported, len(d.Checks))
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, c := range d.Checks {
		all[n] = &reported{key: d.Key, check: c.ID, ttl: time.Duration(ttlOf(c, d.Details.TTL)), kept: kept}
		r.checks[all[n]] = struct{}{}
	}
	looked = func(n int, status domain.Status, output string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		one := all[n]
		one.status, one.output, one.looked = status, output, true
		if one.told != status || !time.Now().Before(one.due) {
			r.rouse()
		}
	}
	return looked, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, one := range all {
			delete(r.checks, one)
		}
	}
}

// rouse has run look again.
func (r *reports) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // run is to look already
	}
}

// run reports until the context ends. A registry that cannot be reached is asked again after growing pauses.
func (r *reports) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		due, wait := r.look(time.Now())
		if len(due) == 0 {
			waitFor(ctx, r.wake, wait)
			continue
		}
		if r.send(ctx, due) {
			failures = 0
			continue
		}
		pause := min(firstPause<<min(failures, 10), longestPause)
		failures++
		sleep(ctx, pause/2+rand.N(pause/2))
	}
}

// waitFor waits for a token, the end of the context, or some time.
func waitFor(ctx context.Context, token <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-token:
	case <-timer.C:
	}
}

// report is a report that is sent.
type report struct {
	of     *reported
	status domain.Status
	output string
	epoch  uint64
}

// look gives the reports that are due now, or after which time to look again.
func (r *reports) look(now time.Time) (due []report, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = time.Hour
	later := func(at time.Time) { wait = max(min(wait, at.Sub(now)), time.Millisecond) }
	bytes, renewals := 0, false
	add := func(one *reported, epoch uint64) {
		due = append(due, report{one, one.status, one.output, epoch})
		one.looked = false
		bytes += len(one.output)
	}
	var early []*reported // would be due soon
	for one := range r.checks {
		state := one.kept.State()
		switch changed := one.told != one.status || one.epoch != state.Epoch; {
		case one.status == "" || state.Phase != client.Registered: // run is roused when that ends
		case now.Before(one.retry):
			later(one.retry)
		case len(due) == reportsAtOnce || bytes > reportBytes:
			later(now)
		case changed:
			add(one, state.Epoch)
		case !one.looked: // the next look rouses run
		case !now.Before(one.due):
			renewals = true
			add(one, state.Epoch)
		default:
			later(one.due)
			if one.due.Sub(now) < one.ttl/reportsPerTTL*2/3 {
				early = append(early, one)
			}
		}
	}
	if renewals { // the others come with them, so that soon all are due at once
		for _, one := range early {
			if len(due) < reportsAtOnce && bytes <= reportBytes {
				add(one, one.epoch)
			}
		}
	}
	return due, wait
}

// send sends reports, and says whether the registry answered.
func (r *reports) send(ctx context.Context, due []report) bool {
	items := make([]client.CheckReport, len(due))
	for n, one := range due {
		items[n] = client.CheckReport{Key: one.of.key, Check: one.of.check, Status: one.status, Output: one.output, Owner: r.owner}
	}
	reply, err := r.client.ReportChecks(ctx, items)
	var results []wire.BatchItem
	if err == nil {
		var ok bool
		if results, ok = reply.Value.InOrder(len(due)); !ok {
			err = errors.New("the registry did not answer with the results of the reports")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	dice := rand.Float64() // reports that one reply refuses are repeated together
	var refused *wire.Problem
	switch {
	case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && refused.Status != http.StatusTooManyRequests:
		for _, one := range due {
			r.refused(now, dice, one, refused)
		}
		return true
	case err != nil: // the instances' states say that the registry is away
		for _, one := range due {
			one.of.looked = true
		}
		return false
	}
	for n, one := range due {
		if p := results[n].Problem; p != nil {
			r.refused(now, dice, one, p)
			continue
		}
		of := one.of
		of.told, of.epoch, of.failures, of.retry = one.status, one.epoch, 0, time.Time{}
		of.due = now.Add(of.ttl / reportsPerTTL)
	}
	return true
}

// refused notes a report that was refused. An instance that is not registered is registered again by its Kept, and then the
// report is repeated: that is said after a second refusal only. dice in [0, 1) says how much of the pause is left out. REQUIRES: the
// caller holds mu.
func (r *reports) refused(now time.Time, dice float64, one report, p *wire.Problem) {
	of := one.of
	pause := min(firstPause<<min(of.failures, 10), longestRefusal)
	of.failures++
	of.looked = true
	of.retry = now.Add(pause - time.Duration(dice*float64(pause/2)))
	if p.Status != http.StatusNotFound && p.Status != http.StatusGone || of.failures > 2 {
		r.logger.Warn("a check cannot be reported", "instance", of.key.String(), "check", of.check, "cause", p)
	}
}

// ttlOf is the ttl of a check at which the agent looks. It is longer than the lease, so that the end of an agent is told once:
// the lease ends. And it is longer than the looks take that give a check its first status.
func ttlOf(c domain.Check, lease domain.Duration) domain.Duration {
	looks := time.Duration(max(c.Failures, c.Successes, 1) + reportsPerTTL)
	return domain.Duration(min(max(2*time.Duration(lease), looks*time.Duration(c.Interval)), domain.MaxTTL))
}

// pushed is the check as the registry has it: a ttl check, because the agent looks. Its notes say at what.
func pushed(c domain.Check, lease domain.Duration, host string) domain.Check {
	notes := c.Notes
	if notes == "" {
		notes = fmt.Sprintf("the agent of host %s looks every %s: %s", host, time.Duration(c.Interval), target(c))
	}
	return domain.Check{
		ID: c.ID, Name: c.Name, Notes: strings.ToValidUTF8(notes[:min(len(notes), domain.MaxCheckNotes)], ""), Kind: domain.CheckTTL,
		TTL: ttlOf(c, lease), InitialStatus: c.InitialStatus,
	}.Normalize()
}

// target says at what a check looks.
func target(c domain.Check) string {
	switch {
	case c.Kind == domain.CheckHTTP && c.Method != "":
		return c.Method + " " + c.URL
	case c.Kind == domain.CheckHTTP:
		return "GET " + c.URL
	case c.Target != "":
		return string(c.Kind) + " " + c.Target
	}
	return string(c.Kind) + " port " + c.Port
}
