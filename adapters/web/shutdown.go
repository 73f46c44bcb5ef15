package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// ShutdownTimeout is how long the requests that are open when a server stops may take.
	ShutdownTimeout = 15 * time.Second
	// unreadTimeout is how long a server that stops waits for clients that do not read their replies.
	unreadTimeout = 5 * time.Second
	// cutTime is how long each write fails after that. A goroutine that waits in a write notices within this time.
	cutTime = 200 * time.Millisecond
)

// connections are the open connections of a server.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// note is for http.Server.ConnState.
func (o *connections) note(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		o.mu.Lock()
		o.open[c] = struct{}{}
		o.mu.Unlock()
	case http.StateClosed, http.StateHijacked:
		o.mu.Lock()
		delete(o.open, c)
		o.mu.Unlock()
	}
}

// setWriteDeadline gives the open connections a deadline, and says how many they are.
func (o *connections) setWriteDeadline(t time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.open {
		_ = c.SetWriteDeadline(t) // a connection that is closed by now has nothing to write
	}
	return len(o.open)
}

// Shutdown waits until the open requests are answered. Clients that do not read their replies are cut off after
// unreadTimeout, and whoever is left after ShutdownTimeout: that is no failure of the server, and the log tells of it. When
// the context ends before, Shutdown cuts off all that are left, and returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, ShutdownTimeout)
	var cutting sync.WaitGroup
	cutting.Go(func() { s.cutUnread(within) })
	err := s.http.Shutdown(within)
	left := within.Err() != nil
	if left {
		err = s.http.Close()
	}
	if s.lane != nil {
		left = s.lane.Wait(within) != nil || left
	}
	cancel()
	cutting.Wait()
	switch {
	case left && ctx.Err() != nil:
		err = errors.Join(fmt.Errorf("requests were cut off: %w", ctx.Err()), err)
	case left:
		s.logger.Warn("requests that took too long were cut off", "after", ShutdownTimeout.String())
	}
	return err
}

// cutUnread makes the writes fail that wait for their clients. A request that is still worked on can be answered later.
func (s *Server) cutUnread(ctx context.Context) {
	if !sleep(ctx, unreadTimeout) {
		return
	}
	if n := s.open.setWriteDeadline(time.Unix(1, 0)); n > 0 {
		s.logger.Warn("clients that do not read their replies are cut off", "after", unreadTimeout.String(), "open_connections", n)
	}
	if sleep(ctx, cutTime) {
		s.open.setWriteDeadline(time.Now().Add(ShutdownTimeout))
	}
}

// sleep is false when the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
