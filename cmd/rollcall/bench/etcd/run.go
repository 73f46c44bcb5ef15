package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	beating  = 4096 // instances that send heartbeats
	perBatch = 100  // heartbeats in a batch
	lookedUp = 20   // instances of the service that is looked up
)

// registration is the body of a registration, and the value of etcd's puts: what a registry has to keep of an instance.
const registration = `{"address":"10.0.0.5","ports":{"http":8080},"tags":["v2","eu"],"metadata":{"zone":"eu-1a"},"ttl":"24h"}`

// fill registers what is looked up and what sends heartbeats.
func (b *bench) fill() error {
	if err := fillRollcall(b.rollcall.urls[b.rollcall.leader]); err != nil {
		return err
	}
	if err := fillRollcall(b.alone.urls[0]); err != nil {
		return err
	}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: b.etcd.urls})
	if err != nil {
		return err
	}
	defer etcd.Close()
	for i := range lookedUp {
		if _, err := etcd.Put(b.ctx, fmt.Sprintf("/looked-up/i%02d", i), registration); err != nil {
			return err
		}
	}
	return nil
}

func fillRollcall(address string) error {
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range lookedUp {
		if err := c.ask("PUT", fmt.Sprintf("/v1/services/looked-up/instances/i%d", i), registration); err != nil {
			return err
		}
	}
	for from := 0; from < beating; from += 512 {
		var items []string
		for i := from; i < from+512; i++ {
			items = append(items, fmt.Sprintf(`{"type":"RegisterInstance","service":"beating","id":"i%d",%s`, i, registration[1:]))
		}
		if err := c.ask("POST", "/v1/commands", "["+strings.Join(items, ",")+"]"); err != nil {
			return err
		}
	}
	return nil
}

// pair is one comparison.
type pair struct {
	name, other    string
	etcd, rollcall func() (op, error)
	servers        *servers // of Rollcall; nil: the cluster
	callers        int      // 0: those of the bench
	pace           float64  // operations a second of Rollcall; 0: as fast as it can
	weight         int      // of an operation of Rollcall
	goal           float64  // of the ratio of the rates; 0: there is none
}

func (b *bench) run() error {
	puts := func(prefix string, addresses []string) func() (op, error) {
		return func() (op, error) {
			return b.client(addresses, func(c *clientv3.Client, caller, n int) error {
				_, err := c.Put(b.ctx, fmt.Sprintf("%s/%d-%d", prefix, caller, n%1000), registration)
				return err
			})
		}
	}
	round := 0
	register := func(callers int, addresses []string) func() (op, error) {
		return func() (op, error) {
			round++
			at := round
			return plain(callers, addresses, func(c *conn, caller, n int) error {
				return c.ask("PUT", fmt.Sprintf("/v1/services/s%d/instances/i%d-%d", n%50, caller, n*100+at), registration)
			})
		}
	}
	beat := func(addresses []string) func() (op, error) {
		return func() (op, error) {
			return plain(b.callers, addresses, func(c *conn, caller, n int) error {
				return c.ask("PUT", fmt.Sprintf("/v1/services/beating/instances/i%d/heartbeat", (caller+n*b.callers)%beating), "")
			})
		}
	}
	batch := func() (op, error) {
		return plain(b.callers, b.rollcall.urls, func(c *conn, caller, n int) error {
			names := make([]string, perBatch)
			for i := range names {
				names[i] = fmt.Sprintf(`"beating/i%d"`, ((caller+n*b.callers)*perBatch+i)%beating)
			}
			return c.ask("POST", "/v1/heartbeats", "["+strings.Join(names, ",")+"]")
		})
	}
	look := func(addresses []string) func() (op, error) {
		return func() (op, error) {
			return plain(b.callers, addresses, func(c *conn, _, _ int) error { return c.ask("GET", "/v1/services/looked-up", "") })
		}
	}
	ranges := func(options ...clientv3.OpOption) func() (op, error) {
		return func() (op, error) {
			return b.client(b.etcd.urls, func(c *clientv3.Client, _, _ int) error {
				_, err := c.Get(b.ctx, "/looked-up/", append([]clientv3.OpOption{clientv3.WithPrefix()}, options...)...)
				return err
			})
		}
	}
	follower := (b.rollcall.leader + 1) % 3
	for _, p := range []pair{
		{name: "registrations", other: "puts", etcd: puts("/r", b.etcd.urls), rollcall: register(b.callers, b.rollcall.urls), goal: 2},
		{name: "heartbeats", other: "puts", etcd: puts("/h", b.etcd.urls), rollcall: beat(b.rollcall.urls), goal: 3},
		{name: "heartbeats in batches", other: "puts", etcd: puts("/h", b.etcd.urls), rollcall: batch, weight: perBatch},
		{name: "lookups", other: "linearizable ranges", etcd: ranges(), rollcall: look(b.rollcall.urls), goal: 3},
		{name: "lookups", other: "serializable ranges", etcd: ranges(clientv3.WithSerializable()), rollcall: look(b.rollcall.urls)},
		{name: "registrations at the leader", callers: 8, rollcall: register(8, b.rollcall.urls[b.rollcall.leader:b.rollcall.leader+1])},
		{name: "registrations at a follower", callers: 8, rollcall: register(8, b.rollcall.urls[follower:follower+1])},
		{name: "10000 heartbeats a second", pace: 10000, rollcall: beat(b.rollcall.urls)},
		{name: "10000 heartbeats a second in batches", pace: 10000 / perBatch, weight: perBatch, rollcall: batch},
		{name: "registrations at a node alone", servers: b.alone, rollcall: register(b.callers, b.alone.urls)},
		{name: "heartbeats at a node alone", servers: b.alone, rollcall: beat(b.alone.urls)},
		{name: "lookups at a node alone", servers: b.alone, rollcall: look(b.alone.urls)},
	} {
		if !b.only.MatchString(p.name) {
			continue
		}
		if err := b.compare(p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// rest waits until servers have done what the loads before left them to do: a pace is about what they take steadily.
func (b *bench) rest(servers *servers) {
	for n := 0; n < 60 && b.ctx.Err() == nil; n++ {
		before := servers.cost().cpu
		time.Sleep(time.Second)
		if servers.cost().cpu-before < 50*time.Millisecond {
			return
		}
	}
}

// compare measures a pair by turns, and shows of each the round in the middle, since a round is easily lucky or disturbed.
func (b *bench) compare(p pair) error {
	if p.callers == 0 {
		p.callers = b.callers
	}
	p.weight = max(p.weight, 1)
	if p.servers == nil {
		p.servers = b.rollcall
	}
	var own, other []figure
	for range b.rounds {
		if p.etcd != nil {
			do, err := p.etcd()
			if err != nil {
				return err
			}
			f, err := b.load(b.etcd, p.callers, 0, 1, do)
			if err != nil {
				return err
			}
			other = append(other, f)
		}
		if p.pace > 0 {
			b.rest(p.servers) // before the callers connect: a connection that asks nothing is closed
		}
		do, err := p.rollcall()
		if err != nil {
			return err
		}
		done := b.profiles(p.name)
		f, err := b.load(p.servers, p.callers, p.pace, p.weight, do)
		done()
		if err != nil {
			return err
		}
		own = append(own, f)
	}
	f := middle(own, p.pace > 0)
	show("rollcall", p.name, f)
	if p.etcd != nil {
		beside := middle(other, false)
		show("etcd", p.other, beside)
		goal := ""
		if p.goal > 0 {
			goal = fmt.Sprintf(", goal %.0f", p.goal)
		}
		fmt.Printf("          %.1f times the rate%s, %.2f of the processor time each\n", f.rate/beside.rate, goal, float64(f.cost.cpu)/float64(beside.cost.cpu))
	}
	return nil
}

// middle is the round that as many were quicker than as were slower, the slower of two. At a pace, all are as quick, and their cost counts.
func middle(rounds []figure, paced bool) figure {
	slices.SortFunc(rounds, func(a, b figure) int {
		if paced {
			return cmp.Compare(b.cost.cpu, a.cost.cpu)
		}
		return cmp.Compare(a.rate, b.rate)
	})
	return rounds[(len(rounds)-1)/2]
}

func show(who, what string, f figure) {
	fmt.Printf("%-9s %-38s %9.0f/s  p50 %8.2f ms  p99 %8.2f ms  %.2f cores; each: %7.1f µs of processor, %.2f wake-ups, %.2f writes, %.0f bytes written, %.3f blocks\n",
		who, what, f.rate, f.p50.Seconds()*1000, f.p99.Seconds()*1000, f.cores, float64(f.cost.cpu.Nanoseconds())/1000, f.cost.switches, f.cost.writes, f.cost.written, f.cost.blocks)
}
