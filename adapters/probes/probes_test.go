package probes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// world has targets that answer as a test says, and a catalog that takes reports.
type world struct {
	*Prober
	mu       sync.Mutex
	answer   func(t *Target) Finding // of a target that was looked at, after its time
	takes    time.Duration           // a look
	looks    map[uint16][]time.Time  // by port
	reports  []string
	statuses map[string]domain.Status
	refuse   error
	mine     func(domain.Key) bool
	results  map[string]int
	late     int
	logs     journal
}

var up = func(*Target) Finding { return Finding{Passed: true, Status: 200} }
var silence = func(*Target) Finding { return Finding{Err: context.DeadlineExceeded} }
var broken = func(*Target) Finding { return Finding{Status: 500} }

// start runs a prober in a bubble of synctest.
func start(t *testing.T, change ...func(*Options)) *world {
	w := &world{answer: up, takes: time.Millisecond, looks: map[uint16][]time.Time{}, statuses: map[string]domain.Status{}, results: map[string]int{}}
	w.mine = func(domain.Key) bool { return true }
	o := Options{
		Look: w.look, Report: w.report, Observer: w, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&w.logs, nil)),
		Mine: func(k domain.Key) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.mine(k)
		},
	}
	for _, c := range change {
		c(&o)
	}
	w.Prober = New(o)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) look(ctx context.Context, t *Target, _ string, _ []byte) Finding {
	w.mu.Lock()
	w.looks[t.Port] = append(w.looks[t.Port], time.Now())
	answer, takes := w.answer, w.takes
	w.mu.Unlock()
	f := answer(t)
	if errors.Is(f.Err, context.DeadlineExceeded) {
		takes = t.Timeout
	}
	select {
	case <-ctx.Done():
	case <-time.After(takes):
	}
	f.Took = takes
	return f
}

func (w *world) report(_ context.Context, reports []Report) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make([]error, len(reports))
	for i, r := range reports {
		if errs[i] = w.refuse; errs[i] == nil {
			w.reports = append(w.reports, fmt.Sprintf("%s/%s %s (%d)", r.Key.ID, r.Check, r.Status, r.Looks))
			w.statuses[r.Key.ID+"/"+r.Check] = r.Status
		}
	}
	return errs
}

func (w *world) Looked(_ domain.ServiceKey, _, result string, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results[result]++
}

func (w *world) Late() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late++
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) count(f func() int) (n int) {
	w.change(func() { n = f() })
	return n
}

// said takes what was reported since the last call.
func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.reports, "; ")
	w.reports = nil
	return s
}

// seen are the looks at the target with that port.
func (w *world) seen(port int) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.looks[uint16(port)])
}

// journal is what was logged.
type journal struct {
	mu sync.Mutex
	strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.Builder.Write(b)
}

func key(n int) domain.Key {
	return domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", n)}
}

// instanceOf is an instance with one check, whose port is its number.
func instanceOf(n int, change ...func(*Check)) Instance {
	c := Check{
		ID: "http", Interval: 10 * time.Second, Status: domain.Starting,
		Target: Target{Kind: HTTP, Host: "10.0.0.1", Port: uint16(n), Path: "/health", Timeout: 2 * time.Second},
	}
	for _, f := range change {
		f(&c)
	}
	return Instance{Key: key(n), Epoch: 1, Address: "10.0.0.1", Checks: []Check{c}}
}

func thresholds(failures, successes int) func(*Check) {
	return func(c *Check) { c.Failures, c.Successes = failures, successes }
}

func TestOnlyAChangeIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.Set(instanceOf(1, thresholds(2, 3)), true)
		for _, step := range []struct {
			answer func(*Target) Finding
			looks  int
			want   string
		}{
			{up, 2, ""},
			{up, 1, "i1/http passing (3)"},
			{up, 5, ""},
			{broken, 1, ""},
			{broken, 1, "i1/http critical (2)"},
			{broken, 3, ""},
			{up, 2, ""},
			{broken, 1, ""}, // a row begins anew
			{up, 3, "i1/http passing (3)"},
		} {
			w.change(func() { w.answer = step.answer })
			for want := len(w.seen(1)) + step.looks; len(w.seen(1)) < want; {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := w.said(); got != step.want {
				t.Errorf("reported %q, want %q", got, step.want)
			}
		}
	})
}

func TestAWarningIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.answer = func(*Target) Finding { return Finding{Warned: true, Status: 429} }
		w.Set(instanceOf(1, thresholds(3, 1)), true)
		time.Sleep(time.Second)
		if got := w.said(); got != "i1/http warning (1)" {
			t.Errorf("reported: %s", got)
		}
		w.change(func() { w.answer = broken })
		time.Sleep(40 * time.Second)
		if got := w.said(); got != "i1/http critical (3)" {
			t.Errorf("reported: %s", got)
		}
	})
}

func TestLooksKeepTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		for n := range 50 {
			w.Set(instanceOf(n+1), n%2 == 0)
		}
		began := time.Now()
		time.Sleep(10*time.Minute + time.Second)
		first := map[int]int{}
		for n := range 50 {
			looks := w.seen(n + 1)
			if len(looks) < 59 || len(looks) > 62 {
				t.Errorf("check %d was looked at %d times in 10 minutes", n, len(looks))
			}
			if n%2 == 0 && looks[0].Sub(began) > 300*time.Millisecond {
				t.Errorf("the first look at a new check came after %s", looks[0].Sub(began))
			}
			for i := 2; i < len(looks); i++ { // the first interval draws the phase
				if gap := looks[i].Sub(looks[i-1]); gap < 9500*time.Millisecond || gap > 10500*time.Millisecond {
					t.Errorf("two looks at check %d are %s apart", n, gap)
				}
			}
			first[int(looks[10].Sub(began)/time.Second)%10]++
		}
		if len(first) < 5 {
			t.Errorf("the looks are not spread over the interval: %v", first)
		}
		if at, known := w.Next(key(1), "http"); !known || time.Until(at) > 10500*time.Millisecond || time.Until(at) < -time.Second {
			t.Errorf("the next look is at %s", time.Until(at))
		}
		if late := w.count(func() int { return w.late }); late != 0 {
			t.Errorf("%d looks are late", late)
		}
	})
}

func TestAnInstanceThatEndedIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		for n := range 3 {
			w.Set(instanceOf(n+1), true)
		}
		time.Sleep(time.Minute)
		w.Remove(key(1))
		gone := instanceOf(2)
		gone.Checks = nil // the instance has no check any more
		w.Set(gone, true)
		before := [3]int{len(w.seen(1)), len(w.seen(2)), len(w.seen(3))}
		time.Sleep(time.Minute)
		if len(w.seen(1)) != before[0] || len(w.seen(2)) != before[1] || len(w.seen(3)) < before[2]+5 {
			t.Errorf("looks %d, %d and %d after %v", len(w.seen(1)), len(w.seen(2)), len(w.seen(3)), before)
		}
		w.Remove(key(3))
		time.Sleep(time.Second)
		if n := w.Numbers(); n.Checks != 0 || n.InFlight != 0 {
			t.Errorf("%+v", n)
		}
		w.Set(instanceOf(3), true) // the wheel turns again
		before[2] = len(w.seen(3))
		time.Sleep(time.Second)
		if len(w.seen(3)) == before[2] {
			t.Error("a check that comes after all had gone is not looked at")
		}
	})
}

func TestAChangedCheckBeginsAnewAndAnUnchangedOneGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.Set(instanceOf(1, thresholds(3, 1)), true)
		time.Sleep(time.Second)
		w.said()
		w.change(func() { w.answer = broken })
		time.Sleep(20 * time.Second) // one or two failures
		w.Set(instanceOf(1, thresholds(3, 1), func(c *Check) { c.Status = domain.Passing }), true)
		time.Sleep(20 * time.Second)
		if got := w.said(); got != "i1/http critical (3)" {
			t.Errorf("reported %q: a change of the instance must not count its failures anew", got)
		}
		before := len(w.seen(2))
		w.Set(instanceOf(1, func(c *Check) { c.Target.Port = 2 }), true)
		time.Sleep(time.Second)
		if len(w.seen(2)) != before+1 {
			t.Error("another target is not looked at soon")
		}
	})
}

// A check that was removed and defined again asks the same as before, but what was seen before says nothing of it. The prober may
// see both changes as one.
func TestACheckThatIsDefinedAgainBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.answer = broken
		defined := func(revision uint64) Instance {
			return instanceOf(1, thresholds(3, 1), func(c *Check) { c.Revision, c.Status = revision, domain.Passing })
		}
		w.Set(defined(1), true)
		for len(w.seen(1)) < 2 {
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		w.Set(defined(2), false)
		for looks := 3; looks <= 5; looks++ {
			if got := w.said(); got != "" {
				t.Errorf("before look %d it reported: %s", looks, got)
			}
			for len(w.seen(1)) < looks {
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
		}
		time.Sleep(time.Second)
		if got := w.said(); got != "i1/http critical (3)" {
			t.Errorf("reported: %s", got)
		}
	})
}

func TestTargetsThatHangDelayNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Concurrency = 20 })
		w.change(func() {
			w.answer = func(to *Target) Finding {
				if to.Port <= 300 {
					return silence(to)
				}
				return up(to)
			}
		})
		for n := range 400 {
			w.Set(instanceOf(n+1, func(c *Check) { c.Status = domain.Critical }), false)
		}
		time.Sleep(5 * time.Minute)
		for n := 300; n < 400; n++ {
			if looks := len(w.seen(n + 1)); looks < 28 {
				t.Errorf("a check that answers was looked at %d times in 5 minutes", looks)
			}
		}
		if n := w.Numbers(); n.InFlight > 20 {
			t.Errorf("%d looks at once", n.InFlight)
		}
		if w.count(func() int { return w.late }) == 0 {
			t.Error("that looks are late is not told")
		}
	})
}

// Few looks at once are enough for targets that answer soon, and no look begins later for that.
func TestLooksOfATickDoNotBeginAllAtOnce(t *testing.T) {
	const checks = 2000
	const perTick = checks / int(soon/Tick)
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		for n := range checks {
			w.Set(instanceOf(n+1), true)
		}
		most := 0
		for range (soon + 2*Tick) / time.Millisecond {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			most = max(most, w.Numbers().InFlight)
		}
		if most == 0 || most > perTick/2 {
			t.Errorf("%d looks were under way at once, of %d that are due in a tick", most, perTick)
		}
		for n := range checks {
			if looks := len(w.seen(n + 1)); looks != 1 {
				t.Fatalf("check %d was looked at %d times", n, looks)
			}
		}
	})
}

func TestAReportThatIsRefusedIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.change(func() { w.refuse = errors.New("the store is away") })
		w.Set(instanceOf(1), true)
		time.Sleep(15 * time.Second)
		if got := w.said(); got != "" {
			t.Errorf("reported %q", got)
		}
		w.change(func() { w.refuse = nil })
		time.Sleep(15 * time.Second)
		if got := w.said(); !strings.HasPrefix(got, "i1/http passing") {
			t.Errorf("reported %q", got)
		}
	})
}

func TestANodeReportsNothingOfAnothersInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.Set(instanceOf(1), true)
		w.Set(instanceOf(2), true)
		time.Sleep(time.Second)
		w.said()
		w.change(func() { w.answer = broken })
		// Ownership was lost, which this node learns at the report only.
		w.change(func() { w.mine = func(k domain.Key) bool { return k == key(2) } })
		time.Sleep(15 * time.Second)
		if got := w.said(); got != "i2/http critical (1)" {
			t.Errorf("reported %q", got)
		}
		w.Rebalance()
		before := len(w.seen(1))
		time.Sleep(15 * time.Second)
		if len(w.seen(1)) != before {
			t.Error("the node still looks at another's instance")
		}
		w.change(func() { w.mine = func(domain.Key) bool { return true } })
		w.Rebalance()
		time.Sleep(11 * time.Second)
		if got := w.said(); got != "i1/http critical (1)" {
			t.Errorf("after it got the instance back it reported %q", got)
		}
	})
}

// A look that seems to have failed because the process stood still says nothing.
func TestALookDuringWhichTheProcessStoodStillSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var skipped atomic.Int64 // by which the clock of the prober is ahead
		w := start(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(skipped.Load())) } })
		w.Set(instanceOf(1), true)
		time.Sleep(time.Second)
		w.said()
		w.change(func() {
			w.answer = func(to *Target) Finding {
				skipped.Add(int64(30 * time.Second)) // the process stands still, and goes on when the deadline has passed
				return silence(to)
			}
		})
		time.Sleep(15 * time.Second)
		if got := w.said(); got != "" || w.count(func() int { return w.results[Void] }) == 0 || w.count(func() int { return w.results[Unanswered] }) != 0 {
			t.Errorf("reported %q; %v", got, w.results)
		}
		w.change(func() { w.answer = silence })
		time.Sleep(15 * time.Second)
		if got := w.said(); got != "i1/http critical (1)" {
			t.Errorf("reported %q", got)
		}
	})
}

func TestANodeThatIsCutOffReportsNoFailure(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
		for _, checks := range []int{10, 40, 400} {
			t.Run(fmt.Sprint(checks, " checks every ", interval), func(t *testing.T) { cutOff(t, checks, interval) })
		}
	}
}

func cutOff(t *testing.T, checks int, interval time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		for n := range checks {
			w.Set(instanceOf(n+1, func(c *Check) { c.Interval, c.Target.Timeout = interval, min(interval, 2*time.Second) }), true)
		}
		time.Sleep(30 * time.Second)
		w.said()
		w.change(func() { w.answer = silence })
		time.Sleep(2 * time.Minute)
		if got := w.said(); got != "" || !w.Numbers().Holding || w.Numbers().Held == 0 {
			t.Errorf("a node that gets no answer reported %q: %+v", got, w.Numbers())
		}
		if !strings.Contains(w.logs.String(), "cut off") {
			t.Errorf("logged %s", w.logs.String())
		}
		w.change(func() { // all but three answer again
			w.answer = func(to *Target) Finding {
				if to.Port <= 3 {
					return silence(to)
				}
				return up(to)
			}
		})
		time.Sleep(time.Minute)
		got := w.said()
		if w.Numbers().Holding || strings.Count(got, "critical") != 3 || strings.Count(got, ";") != 2 {
			t.Errorf("after the recovery: %q, %+v", got, w.Numbers())
		}
	})
}

func TestAHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.HoldFor = 3 * time.Minute })
		for n := range 100 {
			w.Set(instanceOf(n+1), true)
		}
		time.Sleep(30 * time.Second)
		w.said()
		w.change(func() { w.answer = silence })
		time.Sleep(2 * time.Minute)
		if got := w.said(); got != "" {
			t.Errorf("reported %q", got)
		}
		time.Sleep(2 * time.Minute)
		if got := w.said(); strings.Count(got, "critical") != 100 {
			t.Errorf("after the longest time of a hold: %d are critical", strings.Count(got, "critical"))
		}
		w.change(func() { w.answer = up })
		time.Sleep(time.Minute)
		if got := w.said(); strings.Count(got, "passing") != 100 {
			t.Errorf("%d pass again", strings.Count(got, "passing"))
		}
		w.change(func() { w.answer = silence })
		time.Sleep(time.Minute)
		if got := w.said(); got != "" || !w.Numbers().Holding {
			t.Errorf("the next time it holds again, but reported %q", got)
		}
	})
}

func TestFailuresAreReportedAtOnceWhereMostAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		checks, away int
		answer       func(*Target) Finding
	}{
		"a fifth away":              {500, 100, silence},
		"a third away":              {60, 20, silence},
		"few checks":                {9, 9, silence},
		"all answer that they fail": {200, 200, broken},
		"one of many":               {50, 1, silence},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t)
				for n := range c.checks {
					w.Set(instanceOf(n+1), true)
				}
				time.Sleep(30 * time.Second)
				w.said()
				w.change(func() {
					w.answer = func(to *Target) Finding {
						if int(to.Port) <= c.away {
							return c.answer(to)
						}
						return up(to)
					}
				})
				time.Sleep(17 * time.Second) // an interval, a timeout, and a trial
				if got := strings.Count(w.said(), "critical"); got != c.away || w.Numbers().Holding {
					t.Errorf("%d of %d are critical, %+v", got, c.away, w.Numbers())
				}
			})
		})
	}
}
