package dns

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// moved is a registry whose only instance can get another address. A look at it takes a second.
type moved struct {
	slow
	now     atomic.Int64 // Unix seconds
	address string
	rights  atomic.Uint64
	looking chan struct{} // receives at the begin of a look; nil: a look waits for nothing
	end     chan struct{} // sends at the end of a look
}

func (m *moved) Rights() uint64 { return m.rights.Load() }

func (m *moved) All(yield func(wire.Instance) bool) {
	i := wire.Instance{Namespace: "default", Service: "web", ID: "a"}
	i.Address = m.address
	if m.looking != nil {
		m.looking <- struct{}{}
		<-m.end
	}
	m.now.Add(1)
	yield(i)
}

// asking gives a function that asks a server for the address in its list, in a turn of two.
func asking(t *testing.T, registry *moved) func() string {
	s, err := New(registry, Options{Now: func() time.Time { return time.Unix(registry.now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	s.turns.free = make(chan struct{}, 2)
	return func() string {
		s.turns.take(false)
		defer s.turns.give()
		for address := range s.list.current(s).pointers {
			return address.String()
		}
		return ""
	}
}

// A list from before a long silence is no answer for the questions that come while it is made anew.
func TestNoQuestionGetsAListThatIsTooOld(t *testing.T) {
	registry := &moved{address: "10.0.0.1"}
	ask := asking(t, registry)
	if got := ask(); got != "10.0.0.1" {
		t.Fatalf("the list has %s", got)
	}
	registry.looking, registry.end = make(chan struct{}), make(chan struct{})
	maker, other := make(chan string, 1), make(chan string, 1)

	registry.address = "10.0.0.2"
	registry.now.Add(30)
	go func() { maker <- ask() }()
	<-registry.looking
	if got := ask(); got != "10.0.0.1" {
		t.Errorf("while a list is made, the one before has %s", got)
	}
	registry.end <- struct{}{}
	<-maker

	registry.address = "10.0.0.3"
	registry.now.Add(24 * 60 * 60)
	go func() { maker <- ask() }()
	<-registry.looking
	go func() { other <- ask() }()
	for range 1000 {
		runtime.Gosched() // so that the question would be answered from the old list
	}
	registry.end <- struct{}{}
	if got := <-other; got != "10.0.0.3" {
		t.Errorf("a question was answered with %s from a list of the day before", got)
	}
	<-maker
}

func TestAListIsMadeAnewWhenTheRightsChange(t *testing.T) {
	registry := &moved{address: "10.0.0.1"}
	ask := asking(t, registry)
	ask()
	registry.address = "10.0.0.2"
	if got := ask(); got != "10.0.0.1" {
		t.Errorf("a list that was made just now is made again: %s", got)
	}
	registry.rights.Add(1)
	if got := ask(); got != "10.0.0.2" {
		t.Errorf("a list of other rights is used: %s", got)
	}

	registry.address = "10.0.0.3"
	registry.rights.Add(1)
	registry.looking, registry.end = make(chan struct{}), make(chan struct{})
	maker, other := make(chan string, 1), make(chan string, 1)
	go func() { maker <- ask() }()
	<-registry.looking
	go func() { other <- ask() }()
	for range 1000 {
		runtime.Gosched() // so that the question would be answered from the list of other rights
	}
	registry.end <- struct{}{}
	if got := <-other; got != "10.0.0.3" {
		t.Errorf("while a list is made, a list of other rights is used: %s", got)
	}
	<-maker
}
