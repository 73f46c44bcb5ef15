package simulation

import (
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// gather has so many processes come that live on, each under a key of its own in one namespace.
func (w *world) gather(n int, ttl time.Duration) {
	for i := range n {
		p := &process{
			world: w, key: domain.Key{Namespace: "prod", Service: "crowd", ID: fmt.Sprint(i)}, name: fmt.Sprint("c", i), ttl: ttl,
			named: w.chance(2), batched: w.chance(2), home: w.rng.IntN(len(w.nodes)), dies: w.anotherMinute(),
		}
		// They renew one after the other, not all in one tick.
		p.cut = time.Now().Add(time.Duration(i) * ttl / 3 / time.Duration(n))
		w.crowd = append(w.crowd, p)
		w.processes = append(w.processes, p)
	}
}

// cutOff has so many of the crowd fall silent at once for some time, as when a switch fails.
func (w *world) cutOff(n int, d time.Duration) {
	w.see("a crowd falls silent")
	w.tell("%d of the crowd fall silent for %s", n, d)
	for _, p := range w.crowd[:n] {
		p.cut = time.Now().Add(d)
	}
}
