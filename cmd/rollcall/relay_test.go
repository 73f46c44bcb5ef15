package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay forwards TCP connections to a target that may change. It can swallow all bytes: then connections stay open, and
// nothing comes through, in either direction. A connection that was open meanwhile never carries bytes again.
type relay struct {
	net.Listener
	swallows atomic.Bool
	dead     atomic.Uint64 // connections up to this number carry no bytes
	number   atomic.Uint64 // of the newest connection

	mu     sync.Mutex
	target string // "host:port"; "": connections are refused
	conns  map[net.Conn]struct{}
}

// startRelay runs a relay until the test ends.
func startRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, target: target, conns: map[net.Conn]struct{}{}}
	go r.accept()
	t.Cleanup(func() {
		_ = l.Close()
		r.cut()
	})
	return r
}

// url is where the relay is, for clients of HTTP.
func (r *relay) url() string { return "http://" + r.Addr().String() }

// swallow swallows all bytes for a while.
func (r *relay) swallow(d time.Duration) {
	r.swallows.Store(true)
	time.Sleep(d)
	r.dead.Store(r.number.Load())
	r.swallows.Store(false)
}

// setTarget changes where new connections go.
func (r *relay) setTarget(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}

func (r *relay) accept() {
	for {
		near, err := r.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		target := r.target
		r.conns[near] = struct{}{}
		r.mu.Unlock()
		go r.carry(near, target, r.number.Add(1))
	}
}

func (r *relay) carry(near net.Conn, target string, number uint64) {
	defer func() {
		_ = near.Close()
		r.mu.Lock()
		delete(r.conns, near)
		r.mu.Unlock()
	}()
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	both := make(chan struct{}, 2)
	go func() { r.copy(far, near, number); both <- struct{}{} }()
	go func() { r.copy(near, far, number); both <- struct{}{} }()
	<-both
	if r.isDead(number) { // an end that closes is not heard at the other end
		<-both
	}
}

func (r *relay) isDead(number uint64) bool { return r.swallows.Load() || number <= r.dead.Load() }

func (r *relay) copy(to io.Writer, from io.Reader, number uint64) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if r.isDead(number) {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
