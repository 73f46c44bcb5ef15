package feed

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
)

// watches has all who wait for a change to a service.
type watches struct {
	wake chan struct{} // holds a token when changed is not empty; never closed

	mu        sync.Mutex
	byService map[domain.ServiceKey]map[*watcher]struct{}
	changed   map[domain.ServiceKey]struct{} // services whose watchers Run is to wake
}

// watcher is one who waits.
type watcher struct {
	changed chan struct{}
	tell    func() bool // nil: the watcher gets tokens only
}

func (w *watches) add(tell func() bool, keys []domain.ServiceKey) (changed chan struct{}, stop func()) {
	one := &watcher{make(chan struct{}, 1), tell}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byService == nil {
		w.byService = make(map[domain.ServiceKey]map[*watcher]struct{})
		w.changed = make(map[domain.ServiceKey]struct{})
	}
	for _, key := range keys {
		if w.byService[key] == nil {
			w.byService[key] = make(map[*watcher]struct{})
		}
		w.byService[key][one] = struct{}{}
	}
	return one.changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, key := range keys {
			if delete(w.byService[key], one); len(w.byService[key]) == 0 {
				delete(w.byService, key)
				delete(w.changed, key)
			}
		}
	}
}

// watched says whether somebody waits for changes to a service.
func (w *watches) watched(service domain.ServiceKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byService[service]) > 0
}

// tellAtOnce is how many watchers Append wakes by itself. For so few, waking Run would take longer.
const tellAtOnce = 16

// note wakes the watchers of a service that changed. If they are many, Run wakes them.
func (w *watches) note(service domain.ServiceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.byService) == 0 {
		return
	}
	keys := [2]domain.ServiceKey{service, {}}
	watchers := len(w.byService[keys[0]]) + len(w.byService[keys[1]])
	for _, key := range keys {
		switch {
		case len(w.byService[key]) == 0:
		case watchers <= tellAtOnce:
			w.tellOf(key)
		default:
			w.changed[key] = struct{}{}
			select {
			case w.wake <- struct{}{}:
			default: // Run is already to be woken
			}
		}
	}
}

// atATime is how many watchers a goroutine of Run wakes or tells before it lets other goroutines run. If all were woken at once, a command
// would wait behind all of them at each of its steps.
const atATime = 16

// tell wakes the watchers of the services that changed, a few at a time. Where some are told without being woken, as many goroutines
// tell as there are processors.
func (w *watches) tell() {
	watchers, told := w.take()
	var next atomic.Int64
	some := func() {
		for {
			from := int(next.Add(atATime)) - atATime
			if from >= len(watchers) {
				return
			}
			for _, one := range watchers[from:min(from+atATime, len(watchers))] {
				if one.tell == nil || !one.tell() {
					one.wake()
				}
			}
			runtime.Gosched()
		}
	}
	var others sync.WaitGroup
	if told {
		for range runtime.GOMAXPROCS(0) - 1 {
			others.Go(some)
		}
	}
	some()
	others.Wait()
}

// take gives the watchers of the services that changed, and whether some have a tell. A watcher may have stopped when it is woken: its
// channel then keeps the token.
func (w *watches) take() (watchers []*watcher, told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.changed {
		watchers = slices.AppendSeq(watchers, maps.Keys(w.byService[key]))
	}
	clear(w.changed)
	return watchers, slices.ContainsFunc(watchers, func(one *watcher) bool { return one.tell != nil })
}

func (w *watches) tellOf(key domain.ServiceKey) {
	for one := range w.byService[key] {
		one.wake()
	}
}

func (w *watcher) wake() {
	select {
	case w.changed <- struct{}{}:
	default: // the channel holds a token that was not received yet
	}
}
