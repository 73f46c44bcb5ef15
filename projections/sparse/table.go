package sparse

import "iter"

// Table has pointers by key. It is a hash table with linear probing that holds an item in one pointer, where a map would hold
// the key, too. The zero value is empty. REQUIRES: one goroutine at a time calls its methods, and an item's hash never changes.
//
// INVARIANT: at most three quarters of the slots are used. Between the slot at which the probe for an item begins and the item's slot
// no slot is free.
type Table[K, T any, P Item[K, T]] struct {
	// Marked has a byte of each item's hash beside the item's slot, so that a search passes over other items without reading them. It is
	// for tables that are searched for many keys that they do not have. REQUIRES: it does not change once there was an item.
	Marked bool

	slots []P    // nil: the slot is free
	marks []byte // of a Marked table: for each slot, the mark of its item's hash
	used  int
}

func mark(hash uint32) byte { return byte(hash) }

// Item is a pointer that a Table has by a key.
type Item[K, T any] interface {
	*T
	Hash() uint32 // of its key
	Is(key K) bool
}

// leastSlots is the size of a table in which few items are, and leastShrunk the largest one that is not made smaller.
const (
	leastSlots  = 8
	leastShrunk = 64
)

// Len is the number of items.
func (t *Table[K, T, P]) Len() int { return t.used }

// home is where the probe for a hash begins: the part of the slots that the hash, mixed, is of all hashes. So the slots need not be a power of
// two, and the items of a table may share bits of their hashes.
func (t *Table[K, T, P]) home(hash uint32) int {
	const odd = 0x9e3779b1 // 2^32 divided by the golden ratio
	return int(uint64(hash*odd) * uint64(len(t.slots)) >> 32)
}

// next is the slot behind another one. The first is behind the last.
func (t *Table[K, T, P]) next(slot int) int {
	if slot++; slot < len(t.slots) {
		return slot
	}
	return 0
}

// distance is how many slots a probe goes from one slot to another.
func (t *Table[K, T, P]) distance(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(t.slots)
}

// Find is the item of a key with its hash; nil: there is none.
func (t *Table[K, T, P]) Find(hash uint32, key K) P {
	if len(t.slots) == 0 {
		return nil
	}
	for i := t.home(hash); t.slots[i] != nil; i = t.next(i) {
		if t.Marked && t.marks[i] != mark(hash) {
			continue
		}
		if p := t.slots[i]; p.Hash() == hash && p.Is(key) {
			return p
		}
	}
	return nil
}

// All yields the items. REQUIRES: the table is not changed meanwhile.
func (t *Table[K, T, P]) All() iter.Seq[P] {
	return func(yield func(P) bool) {
		for _, p := range t.slots {
			if p != nil && !yield(p) {
				return
			}
		}
	}
}

// Resize gives the table the size for a number of items. REQUIRES: the table has no more.
func (t *Table[K, T, P]) Resize(items int) {
	was := t.slots
	t.slots = make([]P, max(leastSlots, items+items/3+1))
	if t.Marked {
		t.marks = make([]byte, len(t.slots))
	}
	for _, p := range was {
		if p != nil {
			t.place(p)
		}
	}
}

// Add adds an item. REQUIRES: the table has no item of its key.
func (t *Table[K, T, P]) Add(p P) {
	if 4*(t.used+1) > 3*len(t.slots) {
		t.Resize(t.used + t.used/3 + 1)
	}
	t.place(p)
	t.used++
}

func (t *Table[K, T, P]) place(p P) {
	hash := p.Hash()
	i := t.home(hash)
	for t.slots[i] != nil {
		i = t.next(i)
	}
	t.slots[i] = p
	if t.Marked {
		t.marks[i] = mark(hash)
	}
}

// Remove removes an item, and gives memory back when few items are left of those that there were. Items behind it whose probes
// would end at the free slot are moved forward. REQUIRES: the table has the item.
func (t *Table[K, T, P]) Remove(p P) {
	free := t.home(p.Hash())
	for t.slots[free] != p {
		free = t.next(free)
	}
	for i := t.next(free); t.slots[i] != nil; i = t.next(i) {
		if begin := t.home(t.slots[i].Hash()); t.distance(begin, i) >= t.distance(free, i) {
			t.slots[free] = t.slots[i]
			if t.Marked {
				t.marks[free] = t.marks[i]
			}
			free = i
		}
	}
	t.slots[free] = nil
	t.used--
	if len(t.slots) > leastShrunk && 4*t.used < len(t.slots) {
		t.Resize(t.used + t.used/3 + 1) // as a table that grows, or the next item would have it grow
	}
}
