package history

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// headOf is where a name is in a list, and the number that the bytes of the name make that come first behind what all names begin with. Most
// names are told apart by the number, and the bytes of a name are elsewhere in memory.
type headOf struct {
	head  uint64
	index int
}

// manyNames is from how many names on their numbers are put in order byte by byte, which looks at no two of them together.
const manyNames = 256

// byName puts items in the order of their names. memory is what an earlier call used, and is given to the next; nil: the call takes its own.
func byName[T any](memory []headOf, items []T, name func(T) string) (used []headOf) {
	if len(items) < 2 {
		return memory
	}
	shared := name(items[0])
	memory = slices.Grow(memory[:0], 2*len(items))
	list, spare := memory[:len(items)], memory[len(items):2*len(items)]
	for i := 0; i < len(items); i++ {
		of := name(items[i])
		if !strings.HasPrefix(of, shared) { // mostly with one of the first
			shared, i = common(shared, of), -1
			continue
		}
		list[i] = headOf{headAfter(of, len(shared)), i}
	}
	if len(list) < manyNames {
		slices.SortFunc(list, func(a, b headOf) int { return cmp.Compare(a.head, b.head) })
	} else {
		list = byHead(list, spare)
	}
	for begin := 0; begin < len(list); { // those with the same head
		end := begin + 1
		for end < len(list) && list[end].head == list[begin].head {
			end++
		}
		if end-begin > 1 {
			slices.SortFunc(list[begin:end], func(a, b headOf) int { return strings.Compare(name(items[a.index]), name(items[b.index])) })
		}
		begin = end
	}
	for i := range list { // each round of items that take the places of one another
		first, at := items[i], i
		for from := list[at].index; from != i; from = list[at].index {
			items[at], list[at].index, at = items[from], at, from
		}
		items[at], list[at].index = first, at
	}
	return memory
}

// headAfter is the number that the bytes of a name behind its first ones make.
func headAfter(name string, first int) uint64 {
	var head [8]byte
	copy(head[:], name[first:])
	return binary.BigEndian.Uint64(head[:])
}

// byHead puts a list in order: by the last byte of the numbers, then by the one before it, and so on. A byte that all have is passed over.
// spare is memory of the same length; the result is in the one or in the other.
func byHead(list, spare []headOf) []headOf {
	var counts [8][256]int32
	for i := range list {
		for b := range 8 {
			counts[b][byte(list[i].head>>(8*b))]++
		}
	}
	for b := range 8 {
		places := &counts[b]
		if int(places[byte(list[0].head>>(8*b))]) == len(list) {
			continue
		}
		next := int32(0)
		for value, n := range places {
			places[value], next = next, next+n
		}
		for i := range list {
			place := &places[byte(list[i].head>>(8*b))]
			spare[*place] = list[i]
			*place++
		}
		list, spare = spare, list
	}
	return list
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
