package raftstore

import "sync"

// mailbox is a queue without a bound: raft bounds what is under way, and a bounded queue between goroutines that also answer
// each other could block them all.
type mailbox[T any] struct {
	mu    sync.Mutex
	items []T
	wake  chan struct{} // capacity 1: there may be something in the queue; never closed
}

func (m *mailbox[T]) init() { m.wake = make(chan struct{}, 1) }

func (m *mailbox[T]) put(item T) {
	m.leave(item)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// leave puts an item into the queue that may wait for the next one.
func (m *mailbox[T]) leave(item T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items = append(m.items, item)
}

func (m *mailbox[T]) any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.items) > 0
}

func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.items
	m.items = nil
	return taken
}
