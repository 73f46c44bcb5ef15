package raftstore

// What waits for another member is written by the goroutine that has made it, as far as the connection takes it at once. To wake a goroutine
// for it would cost more than the write. What the connection does not take, and all of a connection that is not a plain one (TLS), is
// written by the peer's goroutine.
//
// INVARIANT: one goroutine at a time writes to a connection, who has set writing, and it takes all of the queue. Whoever puts something into the
// queue meanwhile leaves it there, and the writer looks into the queue once more before it ends.

// flush writes what waits for the members. The caller holds no lock, and has put something into a queue, or may have.
func (p *peers) flush() {
	if p == nil || !p.pending.Load() {
		return
	}
	p.pending.Store(false)
	p.mu.Lock()
	all := p.list
	p.mu.Unlock()
	for _, peer := range all {
		peer.flush()
	}
}

// flush writes the queue.
func (p *peer) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 && !p.writing {
		if p.direct == nil {
			p.call()
			return
		}
		frames, direct := p.begin(), p.direct
		p.mu.Unlock()
		n := direct.write(frames)
		p.mu.Lock()
		left := frames[n:]
		if p.end(frames); len(left) > 0 && p.direct == direct {
			p.queue = append(append(make([]byte, 0, len(left)+len(p.queue)), left...), p.queue...)
			p.call()
			return
		}
	}
}

// call wakes the peer's goroutine. REQUIRES: mu is held.
func (p *peer) call() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// begin takes the queue to write it. REQUIRES: mu is held, and nobody writes.
func (p *peer) begin() (frames []byte) {
	frames = p.queue
	p.queue, p.spare, p.writing = p.spare, nil, true
	return frames
}

// end gives back what begin gave. REQUIRES: mu is held.
func (p *peer) end(frames []byte) {
	p.writing = false
	if cap(frames) <= keptBuffer {
		p.spare = frames[:0]
	}
}
