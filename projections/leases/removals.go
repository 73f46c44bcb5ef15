package leases

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Removal is the time at which an instance is to be removed, because its lease lapsed to critical or because a check is
// critical.
type Removal struct {
	Key   domain.Key
	Epoch uint64
	Check string    // id of the check; "": the lease
	Since time.Time // when the event that made it critical was recorded
	After time.Duration
	// Grace is how long the registry must have been able to hear of an end of the critical time, before it removes.
	Grace time.Duration
	// Late is how long the time to remove has passed; only of those that Due gives.
	Late time.Duration
}

// Removals are the removals of instances with something critical, and nothing of any other instance. Any goroutine may use
// it. A removal comes due when the registry could listen for the time of After since the critical time began: time in which
// it could not listen does not count.
type Removals struct {
	table *Table

	mu    sync.Mutex
	of    map[domain.Key][]*removal
	queue removalQueue
}

type removal struct {
	Removal
	began int64 // when the critical time began, nanoseconds since the table began; before the start of the process it is negative
	deaf  int64 // table.deaf then
	at    int64 // its place in the queue: it does not come due before
	held  int64 // nor before this, see Hold
	gone  bool
}

// NewRemovals are no removals. The time of the table counts.
func NewRemovals(t *Table) *Removals {
	return &Removals{table: t, of: make(map[domain.Key][]*removal)}
}

// Set says which removals an instance has now. elapsed is how much of their time had passed before now, of those that are new.
func (r *Removals) Set(key domain.Key, wanted []Removal, elapsed func(Removal) time.Duration, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	had := r.of[key]
	if len(had) == 0 && len(wanted) == 0 {
		return
	}
	var kept []*removal
	for _, w := range wanted {
		at := slices.IndexFunc(had, func(h *removal) bool {
			return h.Check == w.Check && h.Epoch == w.Epoch && h.Since.Equal(w.Since)
		})
		if at >= 0 && had[at].After == w.After {
			kept = append(kept, had[at])
			continue
		}
		item := &removal{Removal: w, began: r.table.since(now) - int64(elapsed(w)), deaf: r.table.deaf.Load()}
		if at >= 0 { // it has another time; what has passed of it stays
			item.began, item.deaf = had[at].began, had[at].deaf
		}
		item.at = item.began + int64(item.After)
		heap.Push(&r.queue, item)
		kept = append(kept, item)
	}
	for _, h := range had {
		h.gone = !slices.Contains(kept, h)
	}
	if r.of[key] = kept; len(kept) == 0 {
		delete(r.of, key)
	}
	r.queue.shrink(len(r.of))
}

// Due takes at most limit removals whose time has passed. Each is given again at the next call, until Set ends it.
func (r *Removals) Due(now time.Time, limit int) (due []Removal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.table.since(now)
	var again []*removal
	for len(r.queue) > 0 && r.queue[0].at <= at && len(due) < limit {
		item := heap.Pop(&r.queue).(*removal)
		if item.gone {
			continue
		}
		if real := max(r.deadline(item), item.held); real > at {
			item.at = real
			heap.Push(&r.queue, item)
			continue
		}
		shown := item.Removal
		shown.Late = time.Duration(at - r.deadline(item))
		due = append(due, shown)
		again = append(again, item)
	}
	for _, item := range again {
		heap.Push(&r.queue, item)
	}
	return due
}

// heldFor is how long a removal that is held is left, so that it does not keep others from being given.
const heldFor = time.Second

// Hold says that a removal which Due gave is not carried out for now. It is given again after a second.
func (r *Removals) Hold(held Removal, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, item := range r.of[held.Key] {
		if item.Check == held.Check {
			item.held = r.table.since(now) + int64(heldFor)
		}
	}
}

// Len is the number of removals that wait.
func (r *Removals) Len() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, items := range r.of {
		n += len(items)
	}
	return n
}

// deadline is when an item comes due, as things are now. It only moves to later.
func (r *Removals) deadline(item *removal) int64 {
	deadline := item.began + int64(item.After) + r.table.deaf.Load() - item.deaf
	return max(deadline, r.table.floor.Load()+int64(min(item.Grace, item.After)))
}

// removalQueue is a heap by the times before which its items do not come due.
type removalQueue []*removal

func (q removalQueue) Len() int           { return len(q) }
func (q removalQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q removalQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are for container/heap.
func (q *removalQueue) Push(x any) { *q = append(*q, x.(*removal)) }

// Pop implements heap.Interface.
func (q *removalQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// shrink removes the items that are gone when they are most of the queue: a check that goes critical for an hour and passes
// again must not be kept for that hour.
func (q *removalQueue) shrink(instances int) {
	if len(*q) < 1024 || len(*q) < 4*instances {
		return
	}
	*q = slices.DeleteFunc(*q, func(item *removal) bool { return item.gone })
	heap.Init(q)
}
