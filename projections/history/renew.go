package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/disposable"
	"github.com/rollcall-registry/rollcall/projections/memtables"
)

// Unavailable refuses a query while the history cannot answer. It says nothing about the event log.
type Unavailable struct {
	Cause      error // nil: the history is being made anew
	Rebuilding bool  // the history is being made anew, and answers once it is level with the log
}

func (u *Unavailable) Error() string {
	if u.Rebuilding {
		return "the history is being made anew from the events"
	}
	return fmt.Sprintf("the history cannot be read; it is opened again or made anew: %v", u.Cause)
}

func (u *Unavailable) Unwrap() error { return u.Cause }

// Pauses between attempts to open a folder that cannot be opened.
const (
	firstPause = time.Second
	maxPause   = time.Minute
	// reopened is how often a failed folder is opened again before it counts as damaged.
	reopened = 3
)

// Run follows the store until the context ends. A folder that fails is opened again. A folder that is damaged, is ahead of
// the store, or has other events than the store is put aside and made anew. Run gives only errors of the store.
func (h *History) Run(ctx context.Context, store eventstore.Store) error {
	for failures := 0; ; failures++ {
		if h.index != nil {
			level, err := h.follow(ctx, store)
			fault := h.db.Err()
			switch {
			case ctx.Err() != nil:
				return nil
			case fault == nil && err != nil:
				return fmt.Errorf("history: %w", err)
			case fault == nil:
				return nil // the store was closed
			}
			if level {
				failures = 0
			}
			h.place.logger.Error("the history has failed; commands and the catalog go on", "cause", fault)
			h.stop(fault)
		}
		if !h.reopen(ctx, failures) {
			return nil
		}
	}
}

// follow applies events until the context ends or something fails. level says whether all events that the store had at the
// beginning were applied.
func (h *History) follow(ctx context.Context, store eventstore.Store) (level bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.db.Failed(), cancel)()
	defer h.flushRegularly(ctx)()
	until, err := h.compare(ctx, store)
	for errors.Is(err, eventstore.ErrUnavailable) && wait(ctx, firstPause) { // a cluster without a leader does not tell its head
		until, err = h.compare(ctx, store)
	}
	if err != nil {
		return false, err
	}
	h.keep(ctx, store)
	caughtUp := func() {
		if !level && h.Position() >= until {
			level, h.seeded = true, false // the events have caught up with the summaries that were taken over
			h.answerAgain()
		}
	}
	caughtUp()
	apply := func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		h.applying.Lock()
		defer h.applying.Unlock()
		if err := h.Apply(events, position); err != nil {
			h.db.Fail(err)
			return err
		}
		caughtUp()
		return nil
	}
	h.applies(true)
	defer h.applies(false)
	err = projections.Follow(ctx, store, eventstore.SubscribeOptions{After: h.Position(), Gather: true}, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		runtime.Gosched() // goroutines that answer commands or subscribers with the same events run first
		if err := apply(events, position); err != nil {
			return err
		}
		h.gathering.wait(ctx, events)
		return nil
	})
	return level, err
}

// flushEvery is how often the memory of the engine is written to disk. After a crash, the events of about this time are
// read from the store again.
const flushEvery = time.Minute

// flushRegularly flushes the engine every minute, and has it give memory back when it rests, in a goroutine that stop ends and
// waits for. It also writes what is in memory once no event has come for some seconds: the next event, which would have it written, may be
// long in coming.
func (h *History) flushRegularly(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	db := h.db
	ended.Go(func() {
		var at eventstore.Position // of the look before
		quiet := 0                 // looks without an event between them
		for looks := 1; wait(ctx, memtables.Pause); looks++ {
			err := db.Rest()
			if quiet++; h.Position() != at {
				at, quiet = h.Position(), 0
			}
			if quiet == int(flushAfter/memtables.Pause) {
				err = errors.Join(err, h.flushQuiet(at))
			}
			if looks%int(flushEvery/memtables.Pause) == 0 {
				err = errors.Join(err, db.Flush())
			}
			if err != nil {
				return // the fault is noted
			}
		}
	})
	return func() { cancel(); ended.Wait() }
}

func (h *History) applies(yes bool) {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.following = yes
}

// flushQuiet writes what is in memory, if the history is still at a position.
func (h *History) flushQuiet(at eventstore.Position) error {
	h.applying.Lock()
	defer h.applying.Unlock()
	if !h.following || h.Position() != at || h.unflushed == 0 && h.young.bytes == 0 {
		return nil
	}
	h.flushed = time.Time{}
	if err := h.commit(at, true); err != nil {
		h.db.Fail(err)
		return err
	}
	h.changed = nil
	return nil
}

// Check compares the history with the store before the first query; Run does so again, but queries may come before. A
// folder with events that the store does not have is put aside. While the store cannot be reached, queries are refused.
func (h *History) Check(ctx context.Context, store eventstore.Store) error {
	if h.index == nil {
		return nil
	}
	_, err := h.compare(ctx, store)
	switch {
	case h.db.Err() != nil:
		h.place.logger.Error("the history does not fit the event store", "cause", h.db.Err())
		h.stop(h.db.Err())
		h.reopen(ctx, 0)
		return ctx.Err()
	case errors.Is(err, eventstore.ErrUnavailable):
		h.query.Lock()
		defer h.query.Unlock()
		h.trouble = &Unavailable{Cause: err}
		return nil
	}
	return err
}

// compare compares the history with the store, and gives the store's head. A history with events that the store does not
// have cannot be used: the store would give its positions to other events, and its tree would prove events that are not in
// the log.
func (h *History) compare(ctx context.Context, store eventstore.Store) (eventstore.Position, error) {
	head, err := store.Head(ctx)
	if err != nil {
		return 0, err
	}
	refuse := func(format string, args ...any) (eventstore.Position, error) {
		err := disposable.Damage{Cause: fmt.Errorf(format, args...)}
		h.db.Fail(err)
		return 0, err
	}
	if at := max(h.lifecycle, h.summed); at > head {
		return refuse("it is at position %d, but the event store ends at %d", at, head)
	}
	if h.lifecycle == 0 {
		return head, nil
	}
	newest, err := h.entry(h.lifecycle)
	if err != nil {
		return refuse("its newest entry cannot be read: %w", err)
	}
	same := false
	for e, err := range store.ReadStream(ctx, newest.Stream, eventstore.ReadOptions{From: newest.Revision, Limit: 1}) {
		if err != nil {
			return 0, err
		}
		same = e.Position == newest.Position && e.ID == newest.ID
	}
	if !same {
		return refuse("its newest entry, at position %d, is not the event that the store has there", h.lifecycle)
	}
	return head, nil
}

// keep takes over the summaries of the folder that was put aside, if that folder can be read.
func (h *History) keep(ctx context.Context, store eventstore.Store) {
	aside := h.renewed
	if aside == "" {
		return
	}
	h.renewed = ""
	old := h.place
	old.dir = aside
	if err := h.keepSummaries(ctx, old, store); err != nil {
		h.place.logger.Warn("what only the old history knew of heartbeats is lost", "cause", err)
	}
}

// stop has queries refused from now on, and closes the folder.
func (h *History) stop(fault error) {
	h.query.Lock()
	defer h.query.Unlock()
	h.trouble = &Unavailable{Cause: fault}
	if err := h.db.Close(); err != nil {
		h.place.logger.Warn("the history's folder could not be closed", "cause", err)
	}
	h.index = nil
}

// reopen opens the folder again, or puts it aside and opens an empty one; false: the context ended first.
func (h *History) reopen(ctx context.Context, failures int) bool {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		var damage disposable.Damage
		whole := !errors.As(h.trouble.Cause, &damage) && (failures < reopened || disposable.Passing(h.trouble.Cause))
		if failures > 0 && !wait(ctx, pause) {
			return false
		}
		failures++
		fresh, aside, err := h.place.openOrRenew(whole)
		if err == nil {
			h.query.Lock()
			h.adopt(fresh)
			h.renewed = aside
			h.trouble = &Unavailable{Rebuilding: true}
			h.query.Unlock()
			return true
		}
		h.place.logger.Error("the history cannot be opened; commands and the catalog go on, and it is tried again", "cause", err)
		h.query.Lock()
		h.trouble = &Unavailable{Cause: err}
		h.query.Unlock()
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// openOrRenew opens the folder as it is if whole says that it may be whole. Otherwise, or if it cannot be opened, it puts
// the folder aside and opens an empty one. aside is the new name of the old folder.
func (p *place) openOrRenew(whole bool) (x *index, aside string, err error) {
	fault := errors.New("it is damaged")
	if whole {
		if x, err = p.open(); err == nil || errors.Is(err, disposable.ErrInUse) || disposable.Passing(err) {
			return x, "", err
		}
		fault = err
	}
	if _, err := os.Lstat(p.dir); err == nil {
		if aside, err = disposable.PutAside(p.dir); err != nil {
			return nil, "", err
		}
	}
	p.logger.Error("the history is made anew from the events", "cause", fault, "put_aside", aside)
	x, err = p.open()
	return x, aside, err
}

// answerAgain has queries answered from now on, because the history is level with the store.
func (h *History) answerAgain() {
	h.query.Lock()
	defer h.query.Unlock()
	if h.trouble != nil {
		h.trouble = nil
		h.place.logger.Info("the history answers again", "position", h.Position())
	}
}

// WaitFor returns when every event up to the position has been applied. While the history cannot answer, WaitFor gives an
// Unavailable.
func (h *History) WaitFor(ctx context.Context, position eventstore.Position) error {
	trouble := func() *Unavailable {
		h.query.RLock()
		defer h.query.RUnlock()
		return h.trouble
	}
	if t := trouble(); t != nil && !t.Rebuilding {
		return t
	}
	if h.Position() < position {
		defer h.gathering.hurry()()
	}
	if err := h.Progress.WaitFor(ctx, position); err != nil {
		if t := trouble(); t != nil {
			return t
		}
		return err
	}
	return nil
}
