//go:build linux

package lane

import "time"

// Members is how many connections are in the loop.
func (l *Lane) Members() int { return l.count(func(*member) bool { return true }) }

// InFlight is how many of them wait for their reply.
func (l *Lane) InFlight() int {
	return l.count(func(m *member) bool { return m.flight.Load() != idle })
}

func (l *Lane) count(counts func(*member) bool) (n int) {
	l.joining.Lock()
	defer l.joining.Unlock()
	if l.loop == nil {
		return 0
	}
	for _, m := range l.loop.members {
		if counts(m) {
			n++
		}
	}
	return n
}

// Loops says whether a loop runs.
func (l *Lane) Loops() bool {
	l.joining.Lock()
	defer l.joining.Unlock()
	return l.loop != nil
}

// Sweep has the loop look for connections that sent nothing for long before now.
func (l *Lane) Sweep(now time.Time) {
	l.joining.Lock()
	loop := l.loop
	l.joining.Unlock()
	loop.sweep(now)
}
