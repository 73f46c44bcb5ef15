package sparse

// Index has the numbers of items by the hashes of their keys. It is a hash table with linear probing that keeps the hash of an item beside
// its number, so it reads an item only where the whole hash is the one that is sought, and grows without reading any. Items are not
// removed. The zero value is empty. REQUIRES: one goroutine at a time calls Add, and none calls Find meanwhile.
type Index struct {
	slots []uint64 // hash, and one more than the number; 0: the slot is free
	used  int
}

// Find is the number of the item with a hash for which is says true; false: there is none.
func (t *Index) Find(hash uint32, is func(number int) bool) (number int, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if number := int(uint32(t.slots[i])) - 1; uint32(t.slots[i]>>32) == hash && is(number) {
			return number, true
		}
	}
	return 0, false
}

// Add adds the number of an item. REQUIRES: the index does not have it, and it is below 1<<32 - 1.
func (t *Index) Add(hash uint32, number int) {
	if 4*(t.used+1) > 3*len(t.slots) {
		was := t.slots
		t.slots = make([]uint64, max(leastSlots, 2*len(was)))
		for _, slot := range was {
			if slot != 0 {
				t.place(slot)
			}
		}
	}
	t.place(uint64(hash)<<32 | uint64(number+1))
	t.used++
}

// Next is an empty index with memory for as many items as t has.
func (t *Index) Next() Index { return Index{slots: make([]uint64, slotsFor(t.used))} }

func slotsFor(items int) (slots int) {
	if items == 0 {
		return 0
	}
	for slots = leastSlots; 4*items > 3*slots; {
		slots *= 2
	}
	return slots
}

func (t *Index) place(slot uint64) {
	mask := uint32(len(t.slots) - 1)
	i := uint32(slot>>32) & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot
}
