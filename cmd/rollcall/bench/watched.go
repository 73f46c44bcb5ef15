package bench

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"time"
)

// watched is a service whose subscribers are measured. Its subscribers say when each of them was told of a change.
type watched struct {
	service string
	conns   []net.Conn
	end     func() // of what reads the connections; nil: they are read by goroutines of their own

	mu     sync.Mutex
	told   []time.Time // has one for each event of each subscriber that nobody has awaited yet
	wanted int         // the number of times that await waits for
	enough chan error  // gets a nil when told has so many times, and the error of a subscriber
}

func newWatched(service string) *watched {
	return &watched{service: service, enough: make(chan error, 1)}
}

// watch subscribes to a service. The result must be closed.
func (b *bench) watch(service string, subscribers int) (*watched, error) {
	w := newWatched(service)
	err := w.subscribe(b.address, subscribers)
	if err == nil {
		_, err = w.await(subscribers) // the snapshots
	}
	if err != nil {
		w.close()
	}
	return w, err
}

// hear notes that so many events came at a time.
func (w *watched) hear(at time.Time, events int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range events {
		w.told = append(w.told, at)
	}
	if w.wanted > 0 && len(w.told) >= w.wanted {
		w.wanted = 0
		w.enough <- nil
	}
}

// fail tells await that a subscriber ended.
func (w *watched) fail(err error) {
	select {
	case w.enough <- fmt.Errorf("a subscriber of %s: %w", w.service, err):
	default: // await is told of another reason
	}
}

// await waits for a number of events, and gives when they came.
func (w *watched) await(n int) ([]time.Time, error) {
	w.mu.Lock()
	if len(w.told) < n {
		w.wanted = n
		w.mu.Unlock()
		if err := <-w.enough; err != nil {
			return nil, err
		}
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	came := w.told[:n:n]
	w.told = append(make([]time.Time, 0, 2*n), w.told[n:]...)
	return came, nil
}

func (w *watched) close() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	if w.end != nil {
		w.end()
	}
}

var eventField = []byte("event: ")

// lines finds the events in what one subscriber is sent, whatever the pieces in which it comes. It looks at the beginnings of lines.
type lines struct {
	beginning [len("event: ")]byte // of the line under way
	n         int                  // bytes of it
}

func (l *lines) events(piece []byte) (events int) {
	for {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			l.n += copy(l.beginning[l.n:], piece)
			return events
		}
		l.n += copy(l.beginning[l.n:], piece[:end])
		if bytes.Equal(l.beginning[:l.n], eventField) {
			events++
		}
		l.n, piece = 0, piece[end+1:]
	}
}
