package pebblestore

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// merging says when the engine may merge tables (a compaction). It grants as many merges at once as the engine itself allows, as the
// engine's own scheduler does, but none before Merge is called. Without it, the engine would begin to merge while it opens the
// folder, and then wait until that merge has ended: up to a second after a load that ended abruptly (ADR 130). Many starts that were never
// over leave so many tables that a write waits for a merge; then they are merged at once.
//
// INVARIANT: the engine locks its own mutex before mu. So mu is not held while the engine is asked for what waits or is given a
// grant. A merge that the engine was refused is begun by grant later: at the end of another merge, when more merges are allowed, or
// when Merge is called.
type merging struct {
	db pebble.DBForCompaction // set by Register, before any other call of the engine

	mu        sync.Mutex
	held      bool // nothing is merged yet
	ended     bool // Unregister was called
	running   int
	allowed   int            // at the last look
	granting  sync.Mutex     // held by grant; locked before the engine's mutex
	following sync.WaitGroup // calls of grant in goroutines of their own
}

// Merge lets the engine merge tables from now on.
func (m *merging) Merge() {
	m.mu.Lock()
	was := m.held
	m.held = false
	m.mu.Unlock()
	if was && m.db != nil { // an engine that only reads has registered nothing
		m.grant()
	}
}

// Stalled lets the engine merge tables from now on, for a write waits for that. The engine may hold its mutex, so another goroutine
// grants it.
func (m *merging) Stalled() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held && !m.ended {
		m.held = false
		m.following.Go(m.grant)
	}
}

// Register implements pebble.CompactionScheduler.
func (m *merging) Register(_ int, db pebble.DBForCompaction) { m.db = db }

// Unregister implements pebble.CompactionScheduler.
func (m *merging) Unregister() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.following.Wait()
	m.granting.Lock() // waits for calls of grant from other goroutines, after which there are no more
	defer m.granting.Unlock()
}

// TrySchedule implements pebble.CompactionScheduler.
func (m *merging) TrySchedule() (bool, pebble.CompactionGrantHandle) { return m.reserve(), m }

// reserve takes the place of one more merge, if one may run.
func (m *merging) reserve() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.allowed = m.db.GetAllowedWithoutPermission()
	if m.held || m.ended || m.running >= m.allowed {
		return false
	}
	m.running++
	return true
}

func (m *merging) release() {
	m.mu.Lock()
	m.running--
	m.mu.Unlock()
}

// grant begins the merges that wait and may run.
func (m *merging) grant() {
	m.granting.Lock()
	defer m.granting.Unlock()
	for m.reserve() {
		if waits, _ := m.db.GetWaitingCompaction(); !waits || !m.db.Schedule(m) {
			m.release()
			return
		}
	}
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. The engine holds its mutex, so another goroutine
// grants what is allowed now.
func (m *merging) UpdateGetAllowedWithoutPermission() {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.allowed
	m.allowed = m.db.GetAllowedWithoutPermission()
	if m.allowed > before && !m.held && !m.ended {
		m.following.Go(m.grant)
	}
}

// Done implements pebble.CompactionGrantHandle: a merge has ended.
func (m *merging) Done() {
	m.release()
	m.grant()
}

// Started implements pebble.CompactionGrantHandle.
func (m *merging) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (m *merging) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (m *merging) CumulativeStats(pebble.CompactionGrantHandleStats) {}

var _ interface {
	pebble.CompactionScheduler
	pebble.CompactionGrantHandle
} = (*merging)(nil)
