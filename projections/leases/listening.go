package leases

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Bounds of what counts as being able to take renewals.
const (
	// MaxPause is how long the clock of Listening may be silent before the process is held to have stood still.
	MaxPause = 4 * Tick
	// MaxCommit is how long an append may be under way.
	MaxCommit = 5 * Tick
	// clearFor is how long nothing may be wrong before the registry is held to be able again.
	clearFor = 5 * Tick
	// ToldFrom is how long an interruption lasts at least to be told in the log.
	ToldFrom = time.Second
)

// Listening knows from when to when the registry was able to take renewals. Leases run only in that time: when the
// registry is able again, every lease gets its whole ttl anew.
//
// Appends and refusals are noted from any goroutine, without a lock; Sample, which a clock of its own calls at every
// tick, makes sense of them.
type Listening struct {
	table *Table

	slot     atomic.Int32 // where appends that begin now are counted
	underWay [16]atomic.Int64
	refusals atomic.Int64
	refused  atomic.Pointer[domain.Deafness] // why, the last time
	deaf     atomic.Bool
	answered atomic.Bool // since the trouble that was seen last

	mu       sync.Mutex
	last     time.Time     // of the last sample
	began    [16]time.Time // when each slot became the current one
	seen     int64         // refusals up to the last sample
	from     time.Time     // while deaf: since when
	cause    domain.Deafness
	trouble  time.Time // while deaf: the last sample that found something wrong
	clear    time.Time // while deaf: the first sample after it that found nothing wrong; zero: none did
	unproven bool      // while deaf: an append failed, and only one that succeeds shows that the next will
	times    int64     // how often it went deaf
	over     []domain.ListeningInterrupted
	total    map[domain.Deafness]time.Duration
}

// maxOver is how many interruptions are kept that were not told yet; the oldest are let go.
const maxOver = 100

// NewListening is for the leases of a table. It hears nothing before Start.
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

// Begin notes that an append begins; End must be given what it returns.
func (l *Listening) Begin() (slot int32) {
	slot = l.slot.Load()
	l.underWay[slot].Add(1)
	return slot
}

// End notes that an append ended; cause is why it failed, "" if it was answered.
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

// Deaf says whether the registry is unable to take renewals, as far as is known.
func (l *Listening) Deaf() bool { return l.deaf.Load() }

// DeafSince says since when, and why, the registry is unable to take renewals; ok is false while it is able.
func (l *Listening) DeafSince() (from time.Time, cause domain.Deafness, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from, l.cause, l.deaf.Load()
}

// Mark is a moment. If two are equal, the registry was able to take renewals all the time between them.
type Mark struct{ times, refusals int64 }

// Sample looks at how things stand. state is why the event store says that it takes no appends, "" if it takes them.
// ok is false while the registry is unable to take renewals.
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
	// A process that goes on after a pause can take renewals at once; anything else may come back.
	if !l.clear.IsZero() && (stopped && l.cause == domain.DeafStopped || now.Sub(l.trouble) >= clearFor) {
		l.able(now, l.clear)
	}
	return Mark{l.times, refusals}, !l.deaf.Load()
}

// Unproven says that nothing is wrong any more as far as is known, but that an append must succeed to show it.
// interrupted is what the log is told if one does.
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

// Over are the interruptions that ended and are worth being told. They are given again until Told.
func (l *Listening) Over() []domain.ListeningInterrupted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.over)
}

// Told lets go of the oldest interruption.
func (l *Listening) Told() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.over) > 0 {
		l.over = l.over[1:]
	}
}

// Total is for how long in all the registry was unable to take renewals since it started, by cause.
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

// found notes that something is wrong, since a moment.
func (l *Listening) found(since, now time.Time, cause domain.Deafness) {
	if !l.deaf.Load() {
		l.from, l.cause, l.unproven = since, cause, false
		l.times++
		l.deaf.Store(true)
	}
	l.trouble, l.clear = now, time.Time{}
	l.answered.Store(false)
}

// able notes that the registry can take renewals again, as it could since a moment.
func (l *Listening) able(now, since time.Time) {
	l.total[l.cause] += since.Sub(l.from)
	if since.Sub(l.from) >= ToldFrom {
		l.over = append(l.over[max(len(l.over)-maxOver+1, 0):], domain.ListeningInterrupted{From: l.from.UTC(), To: since.UTC(), Cause: l.cause})
	}
	l.clear = time.Time{}
	l.table.Grace(now)
	l.deaf.Store(false)
}

// oldest is when the slot began in which the oldest append that is under way is counted; false: none is under way.
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

// turn lets appends that begin from now on be counted in the next slot, if that one is empty. If not, an append has
// been under way for longer than all slots together, and those that begin now are taken for as old.
func (l *Listening) turn(now time.Time) {
	next := (l.slot.Load() + 1) % int32(len(l.underWay))
	if l.underWay[next].Load() == 0 {
		l.began[next] = now
		l.slot.Store(next)
	}
}
