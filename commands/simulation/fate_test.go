package simulation

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// chance is true once in so many times.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

func pick[T any](w *world, from []T) T { return from[w.rng.IntN(len(from))] }

// fate is what happens in a tick that nobody asked for.
func (w *world) fate() {
	if w.group != nil {
		w.group.fate()
	} else if w.now() != fair && w.chance(30) {
		w.become(fair)
	} else if w.now() == fair && w.chance(250) {
		w.become(pick(w, []weather{away, full, mute, slow, drowned}))
	}
	if w.chance(12) {
		w.arrive()
	}
	if w.chance(40) {
		w.operate()
	}
	if w.chance(50) {
		w.reverting()
	}
	if w.chance(25) {
		w.meddle()
	}
	if len(w.crowd) > 0 && w.chance(200) {
		w.cutOff(12+w.rng.IntN(len(w.crowd)-11), time.Duration(5+w.rng.IntN(90))*time.Second)
	}
	if w.group != nil && w.chance(1200) {
		for _, n := range w.nodes {
			if !n.dead.Load() {
				w.kept(w.anotherMinute())
				w.kill(n, false)
			}
		}
		w.see("all nodes of a cluster lose their power")
	}
	if n := pick(w, w.nodes); n.dead.Load() && w.chance(10) {
		if w.now() != away {
			w.start(n)
		}
	} else if !n.dead.Load() && w.chance(400) {
		w.kept(w.anotherMinute())
		w.kill(n, w.chance(2))
	} else if n.works() && w.chance(400) && w.group == nil {
		n.stands = time.Now().Add(time.Duration(1+w.rng.IntN(20)) * time.Second)
		w.kept(n.stands)
		w.tell("node %s stands still", n.name)
	}
	if w.chance(500) {
		w.setClock()
	}
	if w.plan.restores && w.chance(900) {
		w.restore()
	}
	if w.chance(60) && w.ambush.Load() == nil {
		w.lay()
	}
}

func (w *world) become(next weather) {
	was := w.now()
	if next == was {
		return
	}
	w.tell("the store is %s, it was %s", next, was)
	if w.group != nil { // its spans of bad times end later
		w.group.fabric.Heal()
		w.weather.Store(uint32(next))
		return
	}
	if was != fair {
		w.bad[len(w.bad)-1].to = time.Now().Add(5 * time.Second) // appends of before may be under way
	}
	w.weather.Store(uint32(next))
	if next != fair {
		w.bad = append(w.bad, span{time.Now().Add(-time.Second), w.anotherMinute()})
	}
	synctest.Wait()
}

func (w *world) anotherMinute() time.Time { return time.Now().Add(time.Hour) }

// kept notes that a node is kept from its work until some time at most.
func (w *world) kept(until time.Time) { w.bad = append(w.bad, span{time.Now(), until}) }

// arrive has a new process come, under a key of its own or under another's.
func (w *world) arrive() {
	p := &process{
		world: w, key: pick(w, w.keys), name: fmt.Sprint("p", len(w.processes)), ttl: minTTL + time.Duration(w.rng.IntN(int(maxTTL-minTTL)/1000))*1000,
		named: w.chance(2), batched: w.chance(3), home: w.rng.IntN(len(w.nodes)),
	}
	p.dies = time.Now().Add(time.Duration(w.rng.IntN(90_000)) * time.Millisecond)
	if w.chance(3) {
		p.check = minTTL + time.Duration(w.rng.IntN(int(maxTTL-minTTL)/1000))*1000
	}
	p.lapses = w.chance(4)
	w.processes = append(w.processes, p)
}

// lay has a process that is about to lapse heard right before its expiry is appended.
func (w *world) lay() {
	var quiet []*process
	for _, p := range w.processes {
		if p.epoch != 0 && time.Now().After(p.dies) && !p.left {
			quiet = append(quiet, p)
		}
	}
	if len(quiet) == 0 {
		return
	}
	p := pick(w, quiet)
	if w.plan.untying {
		return // the node would wait for its projections, which the goroutine of the expiry may hold up
	}
	for _, n := range w.nodes {
		if n.works() {
			service, beat := n.service, p.heartbeat()
			ambush := func() { w.whisper(p, service, beat) }
			w.ambush.Store(&ambush)
			return
		}
	}
}

// whisper sends a heartbeat from within an append, where the world cannot wait for anything to come to rest.
func (w *world) whisper(p *process, service *commands.Service, beat domain.SendHeartbeat) {
	a := &answer{by: p, command: beat, sent: time.Now(), over: true}
	a.result = service.Do(context.Background(), commands.Caller{Actor: p.name, Via: "http"}, commands.Request{Command: beat})
	a.told = time.Now()
	w.appends.Lock()
	defer w.appends.Unlock()
	w.ambushes = append(w.ambushes, a)
}

// operate has an operator do something.
func (w *world) operate() {
	n := pick(w, w.nodes)
	if !n.works() {
		return
	}
	key, actor := pick(w, w.keys), fmt.Sprint("op", w.rng.IntN(3))
	var command domain.Command
	switch w.rng.IntN(9) {
	case 6:
		w.decide(n, decision{pick(w, []string{"prod", "test", ""}), w.chance(2), actor})
		return
	case 7, 8:
		w.endMaintenance(n, actor)
		return
	case 0:
		command = domain.DeregisterInstance{Key: key, Reason: "scaled down"}
	case 1, 2:
		command = domain.ChangeTraffic{Key: key, Traffic: domain.Maintenance, Reason: "disk"}
	case 3:
		command = domain.ChangeTraffic{Key: key, Traffic: domain.Draining, Reason: "deploy"}
	case 4:
		command = domain.ChangeTraffic{Key: key, Traffic: domain.Serving}
	default:
		command = domain.ReportHealth{Key: key, Status: pick(w, []domain.Status{domain.Passing, domain.Warning, domain.Critical}), Source: domain.FromOperator, Output: "seen"}
	}
	w.send(nil, actor, n, commands.Request{Command: command})
}

// endMaintenance has an operator end the maintenance of a key where no instance is live.
func (w *world) endMaintenance(n *node, actor string) {
	for _, key := range w.keys {
		if i := w.state(key); !i.Live() && i.Maintenance != nil {
			a := w.send(nil, actor, n, commands.Request{Command: domain.ChangeTraffic{Key: key, Traffic: domain.Serving, Reason: "new disk"}})
			if a.over && a.result.Err == nil {
				w.see("maintenance ends where nothing is live")
			}
			return
		}
	}
}

// restore puts the store back to an earlier moment, as an operator does who has lost a disk.
func (w *world) restore() {
	head, _ := w.memory.Head(w.t.Context())
	if head < 20 {
		return
	}
	for _, n := range w.nodes {
		if !n.dead.Load() {
			w.kill(n, w.chance(2))
		}
	}
	to := head - eventstore.Position(w.rng.IntN(10))
	w.kept(time.Now().Add(time.Minute))
	restored, err := w.memory.Restored(fmt.Sprintf("%x", 100+len(w.answers)), to)
	if err != nil {
		w.t.Fatal(err)
	}
	w.takeAll()
	w.appends.Lock()
	w.memory = restored
	for p := range w.written {
		if p > to {
			delete(w.written, p)
		}
	}
	w.appends.Unlock()
	w.appended(restored, time.Now())
	for _, a := range w.answers {
		if a.result.Position > to || !a.over {
			a.restored = true
		}
	}
	w.planned = nil
	for _, r := range w.reverts {
		r.restored = true
	}
	for _, n := range w.nodes {
		if err := n.snapshots.RemoveAll(); err != nil {
			w.t.Fatal(err)
		}
		w.start(n)
	}
	w.tell("the store was restored to position %d", to)
}
