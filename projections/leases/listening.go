package leases

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Limits within which the registry counts as able to take renewals.
const (
	// MaxPause is the longest time between two samples. After a longer time the process is taken to have been stopped.
	MaxPause = 4 * Tick
	// MaxCommit is how long an append may be under way while the registry counts as able.
	MaxCommit = 5 * Tick
	// clearFor is how long samples must find nothing wrong before the registry counts as able again.
	clearFor = 5 * Tick
	// ToldFrom is the length of the shortest interruption of which the log is told.
	ToldFrom = time.Second
)

// Listening knows when the registry was able to take renewals. Leases run only then: when the registry is able again,
// every lease gets its whole ttl anew. While the registry is unable, it is called deaf.
//
// Any goroutine notes appends and refusals, without a lock. A ticker calls Sample at every tick, and Sample decides from
// these notes.
//
// INVARIANT: an append is counted in the slot that was current when it began, until it ends. Slots take turns at
// samples, so the age of the oldest slot that is not empty bounds the age of the oldest append.
type Listening struct {
	table *Table

	slot     atomic.Int32     // the current slot, in which appends that begin now are counted
	underWay [16]atomic.Int64 // appends under way, by slot
	refusals atomic.Int64
	refused  atomic.Pointer[domain.Deafness] // cause of the newest refusal
	deaf     atomic.Bool
	answered atomic.Bool // an append succeeded since the newest trouble

	mu       sync.Mutex
	last     time.Time     // when the last sample was
	began    [16]time.Time // when each slot became the current one
	seen     int64         // number of refusals at the last sample
	from     time.Time     // while deaf: when that began
	cause    domain.Deafness
	trouble  time.Time                         // while deaf: the last sample that found something wrong
	clear    time.Time                         // while deaf: the first sample after trouble that found nothing wrong; zero: there was none
	unproven bool                              // while deaf: an append failed, and only an append that succeeds ends that
	times    int64                             // number of interruptions so far
	over     []domain.ListeningInterrupted     // ended, and to be told in the log
	total    map[domain.Deafness]time.Duration // of interruptions that ended
}

// maxOver is how many interruptions are kept until the log is told. Beyond that the oldest are dropped.
const maxOver = 100

// NewListening is the Listening for the leases of a table. Call Start before Sample.
func NewListening(t *Table) *Listening {
	return &Listening{table: t, total: make(map[domain.Deafness]time.Duration)}
}

// Start says that the registry takes renewals from now on, and gives all leases their ttl anew.
func (l *Listening) Start(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = now
	for i := range l.began {
		l.began[i] = now
	}
	l.table.Grace(now)
}

// Begin notes that an append begins. REQUIRES: the caller calls End with the slot when the append ends.
func (l *Listening) Begin() (slot int32) {
	slot = l.slot.Load()
	l.underWay[slot].Add(1)
	return slot
}

// End notes that an append ended. cause is why it failed; "": it succeeded.
func (l *Listening) End(slot int32, cause domain.Deafness) {
	l.underWay[slot].Add(-1)
	if cause != "" {
		l.Refused(cause)
	} else if l.deaf.Load() {
		l.answered.Store(true)
	}
}

// Refused notes that a renewal was refused.
func (l *Listening) Refused(cause domain.Deafness) {
	l.refused.Store(&cause)
	l.refusals.Add(1)
}

// Deaf says whether the registry is unable to take renewals, as of the last sample.
func (l *Listening) Deaf() bool { return l.deaf.Load() }

// DeafSince says since when, and why, the registry is unable to take renewals; ok is false while it is able.
func (l *Listening) DeafSince() (from time.Time, cause domain.Deafness, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from, l.cause, l.deaf.Load()
}

// Mark identifies a sample. If the marks of two samples are equal, the registry was able to take renewals all the time
// between them.
type Mark struct{ times, refusals int64 }

// Sample decides whether the registry is able to take renewals now; ok says so. state is why the event store takes no
// appends; "": it takes them.
func (l *Listening) Sample(now time.Time, state domain.Deafness) (mark Mark, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pause := now.Sub(l.last)
	stopped := pause > MaxPause || pause < 0
	if stopped {
		l.found(l.last, now, domain.DeafStopped)
	}
	refusals := l.refusals.Load()
	oldest, some := l.oldest()
	switch {
	case state != "":
		l.found(l.last, now, state)
	case refusals != l.seen:
		cause := *l.refused.Load()
		l.found(l.last, now, cause)
		l.unproven = l.unproven || cause != domain.DeafOverload
	case some && now.Sub(oldest) > MaxCommit:
		l.found(oldest, now, domain.DeafCommit)
	case l.deaf.Load() && l.clear.IsZero() && (!l.unproven || l.answered.Load()):
		l.clear = now
	}
	l.seen, l.last = refusals, now
	l.turn(now)
	// A process that goes on after a pause can take renewals at once. Any other trouble may come back.
	if !l.clear.IsZero() && (stopped && l.cause == domain.DeafStopped || now.Sub(l.trouble) >= clearFor) {
		l.able(now, l.clear)
	}
	return Mark{l.times, refusals}, !l.deaf.Load()
}

// Unproven says that nothing is known to be wrong any more, but that an append must succeed before the registry counts as
// able. interrupted is the event whose append shows that, and tells the log of the interruption.
func (l *Listening) Unproven(now time.Time) (interrupted domain.ListeningInterrupted, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.deaf.Load() || !l.unproven || now.Sub(l.trouble) < ToldFrom {
		return interrupted, false
	}
	return domain.ListeningInterrupted{From: l.from.UTC(), To: now.UTC(), Cause: l.cause}, true
}

// Proved notes that the log was told of an interruption that Unproven gave.
func (l *Listening) Proved(told domain.ListeningInterrupted, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf.Load() && l.from.Equal(told.From) {
		l.able(now, told.To)
	}
	l.over = slices.DeleteFunc(l.over, func(i domain.ListeningInterrupted) bool { return i.From.Equal(told.From) })
}

// Over are the interruptions that ended and of which the log is to be told. Each is given until Told is called.
func (l *Listening) Over() []domain.ListeningInterrupted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.over)
}

// Told notes that the log was told of the oldest interruption.
func (l *Listening) Told() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.over) > 0 {
		l.over = l.over[1:]
	}
}

// Total is how long the registry was unable to take renewals since it started, by cause.
func (l *Listening) Total(now time.Time) map[domain.Deafness]time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := make(map[domain.Deafness]time.Duration, len(l.total)+1)
	for cause, d := range l.total {
		total[cause] = d
	}
	if l.deaf.Load() {
		total[l.cause] += now.Sub(l.from)
	}
	return total
}

// found notes that something is wrong, and has been since a time. REQUIRES: mu is held.
func (l *Listening) found(since, now time.Time, cause domain.Deafness) {
	if !l.deaf.Load() {
		l.from, l.cause, l.unproven = since, cause, false
		l.times++
		l.deaf.Store(true)
	}
	l.trouble, l.clear = now, time.Time{}
	l.answered.Store(false)
}

// able notes that the registry can take renewals again, and could since a time. REQUIRES: mu is held.
func (l *Listening) able(now, since time.Time) {
	l.total[l.cause] += since.Sub(l.from)
	if since.Sub(l.from) >= ToldFrom {
		l.over = append(l.over[max(len(l.over)-maxOver+1, 0):], domain.ListeningInterrupted{From: l.from.UTC(), To: since.UTC(), Cause: l.cause})
	}
	l.clear = time.Time{}
	l.table.Deafness(now.Sub(l.from))
	l.table.Grace(now)
	l.deaf.Store(false)
}

// oldest is when the slot of the oldest append under way became current; false: no append is under way.
func (l *Listening) oldest() (time.Time, bool) {
	current := l.slot.Load()
	for i := range int32(len(l.underWay)) {
		slot := (current + 1 + i) % int32(len(l.underWay))
		if l.underWay[slot].Load() > 0 {
			return l.began[slot], true
		}
	}
	return time.Time{}, false
}

// turn makes the next slot the current one, if it is empty. If it is not, an append has been under way since that slot was
// current; the slot stays, and appends that begin now count as being as old as the slot.
func (l *Listening) turn(now time.Time) {
	next := (l.slot.Load() + 1) % int32(len(l.underWay))
	if l.underWay[next].Load() == 0 {
		l.began[next] = now
		l.slot.Store(next)
	}
}
