package probes

import "time"

// Tick is how exactly looks are scheduled.
const Tick = 50 * time.Millisecond

// slots is how many ticks one turn of the wheel has. A check that is due later stays in its slot for more turns.
const slots = 1024

// waiting says in which list a check is. It is in one at most.
type waiting uint8

const (
	nowhere waiting = iota
	inWheel         // in the slot of the tick in which it is due
	inQuick         // in the first queue of those that are due
	inSlow          // in the second
)

// list is a list of checks.
type list struct{ first, last *check }

func (l *list) push(c *check) {
	c.previous, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *list) pushFront(c *check) {
	c.previous, c.next = nil, l.first
	if l.first != nil {
		l.first.previous = c
	} else {
		l.last = c
	}
	l.first = c
}

// remove takes a check out of the list. REQUIRES: it is in the list.
func (l *list) remove(c *check) {
	if c.previous != nil {
		c.previous.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.previous = c.previous
	} else {
		l.last = c.previous
	}
	c.previous, c.next = nil, nil
}

// wheel is a timing wheel: it says which checks are due, and an idle check costs nothing but its place in a list.
type wheel struct {
	slots [slots]list
	now   int64 // the tick up to which checks were taken
}

// add puts a check, whose due is set, into its slot.
func (w *wheel) add(c *check) {
	c.due = max(c.due, w.now+1)
	w.slots[c.due%slots].push(c)
	c.waits = inWheel
}

// remove takes a check out of its slot. REQUIRES: it is in the wheel, and its due is the same as when it was added.
func (w *wheel) remove(c *check) { w.slots[c.due%slots].remove(c) }

// advance moves the checks that are due up to a tick to the end of a queue.
func (w *wheel) advance(to int64, take func(*check)) {
	if to-w.now >= slots { // every slot is looked at once
		w.now = to - slots
	}
	for w.now < to {
		w.now++
		for c := w.slots[w.now%slots].first; c != nil; {
			next := c.next
			if c.due <= to {
				w.remove(c)
				c.waits = nowhere
				take(c)
			}
			c = next
		}
	}
}
