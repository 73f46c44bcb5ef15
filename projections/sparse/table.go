package sparse

import "iter"

// Table has pointers by key. It is a hash table with linear probing that holds an item in one pointer, where a map would hold
// the key, too. The zero value is empty. REQUIRES: one goroutine at a time calls its methods, and an item's hash never changes.
//
// INVARIANT: of the slots, a power of two, at most three quarters are used. Between the slot at which the probe for an item
// begins and the item's slot no slot is free.
type Table[K, T any, P Item[K, T]] struct {
	slots []P // nil: the slot is free
	used  int
}

// Item is a pointer that a Table has by a key.
type Item[K, T any] interface {
	*T
	Hash() uint32 // of its key; a probe begins at its lowest bits
	Is(key K) bool
}

// leastSlots is the size of a table in which few items are, and leastShrunk the largest one that is not made smaller.
const (
	leastSlots  = 8
	leastShrunk = 64
)

// Len is the number of items.
func (t *Table[K, T, P]) Len() int { return t.used }

// Find is the item of a key with its hash; nil: there is none.
func (t *Table[K, T, P]) Find(hash uint32, key K) P {
	if len(t.slots) == 0 {
		return nil
	}
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; t.slots[i] != nil; i = (i + 1) & mask {
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
	size := leastSlots
	for 3*size < 4*items {
		size *= 2
	}
	was := t.slots
	t.slots = make([]P, size)
	for _, p := range was {
		if p != nil {
			t.place(p)
		}
	}
}

// Add adds an item. REQUIRES: the table has no item of its key.
func (t *Table[K, T, P]) Add(p P) {
	if 4*(t.used+1) > 3*len(t.slots) {
		t.Resize(2 * t.used)
	}
	t.place(p)
	t.used++
}

func (t *Table[K, T, P]) place(p P) {
	mask := uint32(len(t.slots) - 1)
	i := p.Hash() & mask
	for t.slots[i] != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = p
}

// Remove removes an item, and gives memory back when few items are left of those that there were. Items behind it whose probes
// would end at the free slot are moved forward. REQUIRES: the table has the item.
func (t *Table[K, T, P]) Remove(p P) {
	mask := uint32(len(t.slots) - 1)
	free := p.Hash() & mask
	for t.slots[free] != p {
		free = (free + 1) & mask
	}
	for i := (free + 1) & mask; t.slots[i] != nil; i = (i + 1) & mask {
		if begin := t.slots[i].Hash() & mask; (i-begin)&mask >= (i-free)&mask {
			t.slots[free] = t.slots[i]
			free = i
		}
	}
	t.slots[free] = nil
	t.used--
	if len(t.slots) > leastShrunk && 16*t.used < len(t.slots) {
		t.Resize(t.used)
	}
}
