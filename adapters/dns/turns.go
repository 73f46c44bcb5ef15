package dns

import (
	"runtime"
	"sync/atomic"
)

// turns bounds the answers that are made at once to the number of processors. Each question over UDP has a goroutine of its
// own, and an answer about a large service takes a millisecond: without a bound, a flood of questions would have thousands of
// goroutines ready to run before those that renew leases.
type turns struct {
	free    chan struct{} // holds a value for each answer that is being made; nobody closes it
	waiting atomic.Int64  // questions over UDP that wait
}

// maxWaiting is how many questions over UDP wait for a turn. More are left out: their clients ask again.
const maxWaiting = 512

func newTurns() *turns { return &turns{free: make(chan struct{}, runtime.GOMAXPROCS(0))} }

// take waits for a turn. It says no, without a wait, to a question over UDP where too many wait. Questions over TCP are bounded by
// the number of connections.
func (t *turns) take(udp bool) bool {
	select {
	case t.free <- struct{}{}:
		return true
	default:
	}
	if udp {
		defer t.waiting.Add(-1)
		if t.waiting.Add(1) > maxWaiting {
			return false
		}
	}
	t.free <- struct{}{}
	return true
}

func (t *turns) give() { <-t.free }
