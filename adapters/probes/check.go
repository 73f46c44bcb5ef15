package probes

import (
	"encoding/json"
	"hash/maphash"
	"strings"
	"time"
	"unique"

	"github.com/rollcall-registry/rollcall/domain"
)

// instance is what the prober keeps of an instance. Its checks are replaced together.
type instance struct {
	service unique.Handle[domain.ServiceKey]
	id      string
	epoch   uint64
	address string
	first   *check    // of its checks; each has the next
	next    *instance // another instance with the same hash; see instances
}

func (i *instance) key() domain.Key {
	service := i.service.Value()
	return domain.Key{Namespace: service.Namespace, Service: service.Service, ID: i.id}
}

// check is a check of an instance. There are very many: what many checks have in common is in their test, and only the host
// and the port are each check's own.
type check struct {
	of             *instance
	sibling        *check // the next check of the instance
	previous, next *check // in the list of the place where it waits
	test           *test
	text           string // the id, and then the host if it is another than the instance's own; see Target
	revision       uint64
	due            int64  // tick
	looked         uint32 // the tick in which the newest look began, modulo 1<<32
	place          int32  // in mine; -1: it is another node's
	port           uint16
	idLength       uint16
	results        uint8 // of the streak
	failing        bool  // of the streak
	status         level
	waits          waiting
	looking        bool
	slow           bool // the newest look got no answer in time
	silent         bool // the newest look got no answer
	reporting      bool // a report is under way
	tried          bool // it is part of the trial
	gone           bool
	spread         bool // its phase was drawn
}

// test is what checks that ask the same have in common. It is immutable, but for users.
type test struct {
	question
	extra *Extra
	users int // checks
}

// question tells tests apart.
type question struct {
	path      string
	extra     string // JSON; "": none
	timeout   time.Duration
	interval  time.Duration
	kind      Kind
	tls       bool
	failures  uint8
	successes uint8
}

// tests are the tests in use.
type tests struct {
	all       map[question]*test
	intervals map[time.Duration]int // how many tests have an interval
}

// shortest is the shortest interval; 0: there is no test.
func (ts *tests) shortest() (interval time.Duration) {
	for i := range ts.intervals {
		if interval == 0 || i < interval {
			interval = i
		}
	}
	return interval
}

// take gives the test of a check, and counts the check.
func (ts *tests) take(c *Check) *test {
	q := question{
		path: c.Target.Path, timeout: c.Target.Timeout, interval: c.Interval, kind: c.Target.Kind, tls: c.Target.TLS,
		failures: uint8(max(c.Failures, 1)), successes: uint8(max(c.Successes, 1)),
	}
	if c.Target.Extra != nil {
		b, err := json.Marshal(c.Target.Extra)
		if err != nil {
			panic(err) // cannot happen: it has texts, numbers and truth values only
		}
		q.extra = string(b)
	}
	t := ts.all[q]
	if t == nil {
		q.path = strings.Clone(q.path) // it is a part of a longer text
		t = &test{question: q, extra: c.Target.Extra}
		ts.all[q] = t
		ts.intervals[q.interval]++
	}
	t.users++
	return t
}

// release takes a check from a test.
func (ts *tests) release(t *test) {
	if t.users--; t.users > 0 {
		return
	}
	delete(ts.all, t.question)
	if ts.intervals[t.interval]--; ts.intervals[t.interval] == 0 {
		delete(ts.intervals, t.interval)
	}
}

func (c *check) id() string { return c.text[:c.idLength] }

// name gives the check its id, and the host of its target. REQUIRES: c.of is set.
func (c *check) name(id, host string) {
	c.text, c.idLength = id, uint16(len(id))
	if host != ownHost(c.of.address) {
		c.text += host
	}
}

func (c *check) host() string {
	if host := c.text[c.idLength:]; host != "" {
		return host
	}
	return ownHost(c.of.address)
}

// target is what the check looks at.
func (c *check) target() Target {
	t := c.test
	return Target{Host: c.host(), Path: t.path, Extra: t.extra, Timeout: t.timeout, Port: c.port, Kind: t.kind, TLS: t.tls}
}

// sees counts a result. decided is true if the check has the status of the result then.
func (c *check) sees(result level) (decided bool) {
	streak := domain.Streak{Failing: c.failing, Results: int(c.results)}
	streak, decided = streak.After(domain.Check{Failures: int(c.test.failures), Successes: int(c.test.successes)}, statuses[result])
	c.failing, c.results = streak.Failing, uint8(streak.Results)
	return decided
}

// beginAnew forgets the results in a row.
func (c *check) beginAnew() { c.failing, c.results = false, 0 }

// level is a domain.Status in one byte.
type level uint8

const (
	starting level = iota
	passing
	warning
	critical
)

var statuses = [...]domain.Status{domain.Starting, domain.Passing, domain.Warning, domain.Critical}

func levelOf(s domain.Status) level {
	for i, name := range statuses {
		if name == s {
			return level(i)
		}
	}
	return starting
}

// instances finds instances by their keys. A map by keys would take more memory than the rest of an instance does, so the
// instances are kept by the hashes of their keys.
type instances struct {
	seed   maphash.Seed
	byHash map[uint64]*instance // instances with the same hash are linked
}

func newInstances() instances {
	return instances{maphash.MakeSeed(), make(map[uint64]*instance)}
}

// find gives an instance; nil: there is none.
func (all *instances) find(key domain.Key) *instance {
	i := all.byHash[maphash.Comparable(all.seed, key)]
	for i != nil && i.key() != key {
		i = i.next
	}
	return i
}

// set adds an instance, or replaces the one with its key.
func (all *instances) set(i *instance) {
	all.remove(i.key())
	hash := maphash.Comparable(all.seed, i.key())
	i.next = all.byHash[hash]
	all.byHash[hash] = i
}

func (all *instances) remove(key domain.Key) {
	hash := maphash.Comparable(all.seed, key)
	var kept *instance
	for i := all.byHash[hash]; i != nil; {
		next := i.next
		if i.key() != key {
			i.next, kept = kept, i
		}
		i = next
	}
	if kept == nil {
		delete(all.byHash, hash)
		return
	}
	all.byHash[hash] = kept
}

// all yields the instances. They may be removed meanwhile.
func (all *instances) all(yield func(*instance) bool) {
	for _, i := range all.byHash {
		for i != nil {
			next := i.next
			if !yield(i) {
				return
			}
			i = next
		}
	}
}
