package queries

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/encoded"
)

const (
	// heavyEntries is from how many instances on an answer is encoded in a turn: that takes milliseconds.
	heavyEntries = 1000
	// heavyWaiting is how many different answers wait for their turns; a further one is refused at once.
	heavyWaiting = 512
	// heavyTimeout is how long an answer waits for its turn.
	heavyTimeout = 15 * time.Second
	// catchUps is how many followers are told at once what they missed, for which it is read from the store.
	catchUps = 4
	// catchUpWait is how long a further one waits before it begins anew.
	catchUpWait = 5 * time.Second
	// keptAnswers is how many bytes of answers are kept that no view keeps: of filters and of snapshots.
	keptAnswers = 32 << 20
)

// Overloaded refuses a query for which no processor became free in time.
type Overloaded struct{}

func (Overloaded) Error() string { return "too many large answers are being made; try again" }

// work makes large answers, few at once, so that half of the processors stay free for heartbeats. Answers are made
// in the order in which they were asked for. Whoever asks for an answer that waits for its turn shares it: it is made
// from what there is when its turn comes. The zero value is ready.
type work struct {
	once    sync.Once
	turns   chan struct{} // holds a token for each answer that is being made
	missed  chan struct{} // holds a token for each follower that is told what it missed
	mu      sync.Mutex
	waiting map[string]*answer // by their names
	kept    encoded.Kept
}

// answer is a reply that several requests may have asked for.
type answer struct {
	done   chan struct{} // closed when the answer is made
	askers int           // who still wait; guarded by the work's mutex
	made   made
	err    error
}

// made is an answer, and where it says that the catalog is.
type made struct {
	form encoded.Form
	at   eventstore.Position
	// panics are the services in it that panic; nil: none does.
	panics toldPanics
}

// do makes an answer in its turn. encode must not depend on the caller.
func (w *work) do(ctx context.Context, name string, encode func() made) (made, error) {
	a, err := w.join(name, encode)
	if err != nil {
		return made{}, err
	}
	timeout := time.NewTimer(heavyTimeout)
	defer timeout.Stop()
	select {
	case <-a.done:
		return a.made, a.err
	case <-timeout.C:
		err = Overloaded{}
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a.askers--
	return made{}, err
}

// join asks for the answer of that name which waits for its turn, or for a new one.
func (w *work) join(name string, encode func() made) (*answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.once.Do(w.begin)
	a := w.waiting[name]
	switch {
	case a != nil:
		a.askers++
		return a, nil
	case len(w.waiting) >= heavyWaiting:
		return nil, Overloaded{}
	}
	a = &answer{done: make(chan struct{}), askers: 1}
	w.waiting[name] = a
	go w.run(name, a, encode) // ends when its turn is over
	return a, nil
}

func (w *work) begin() {
	w.turns, w.waiting = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), make(map[string]*answer)
	w.missed = make(chan struct{}, catchUps)
	w.kept.Limit = keptAnswers
}

func (w *work) run(name string, a *answer, encode func() made) {
	w.turns <- struct{}{}
	defer func() {
		<-w.turns
		close(a.done)
	}()
	w.mu.Lock()
	delete(w.waiting, name)
	wanted := a.askers > 0
	w.mu.Unlock()
	if !wanted {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			a.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	a.made = encode()
}

// catchUp lets a follower read what it missed, until it calls done. nil: others do so for too long, or the context
// ended.
func (w *work) catchUp(ctx context.Context) (done func()) {
	w.once.Do(w.begin)
	timeout := time.NewTimer(catchUpWait)
	defer timeout.Stop()
	select {
	case w.missed <- struct{}{}:
		return func() { <-w.missed }
	case <-timeout.C:
	case <-ctx.Done():
	}
	return nil
}

// made is an answer about a number of entries. An answer about many entries is made in its turn.
func (s *Service) made(ctx context.Context, name string, entries int, encode func() encoded.Form) (encoded.Form, error) {
	if entries < heavyEntries {
		return encode(), nil
	}
	made, err := s.work.do(ctx, name, func() made { return made{form: encode()} })
	return made.form, err
}

// find is the form of that name, if it is there.
func (w *work) find(name string) (encoded.Form, bool) { return w.kept.Find(name) }

// keep is the form of that name if it is there, or else a new one.
func (w *work) keep(name string, encode func() encoded.Form) encoded.Form {
	w.once.Do(w.begin)
	if form, ok := w.kept.Find(name); ok {
		return form
	}
	form := encode()
	w.kept.Put(name, form)
	return form
}
