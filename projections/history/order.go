package history

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// nameOf has an item with its name, and the number that the bytes of the name make that come first behind what all names begin with. Most
// names are told apart by the number, which is beside the item, where the bytes of a name are elsewhere in memory.
type nameOf[T any] struct {
	head uint64
	name string
	item T
}

// byName puts items in the order of their names.
func byName[T any](items []T, name func(T) string) {
	if len(items) < 2 {
		return
	}
	list := make([]nameOf[T], len(items))
	shared := name(items[0])
	for i, item := range items {
		list[i] = nameOf[T]{name: name(item), item: item}
		shared = common(shared, list[i].name)
	}
	for i := range list {
		var head [8]byte
		copy(head[:], list[i].name[len(shared):])
		list[i].head = binary.BigEndian.Uint64(head[:])
	}
	slices.SortFunc(list, func(a, b nameOf[T]) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return strings.Compare(a.name, b.name)
	})
	for i := range list {
		items[i] = list[i].item
	}
}

// common is what two texts begin with.
func common(a, b string) string {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return a[:i]
		}
	}
	return a[:n]
}
