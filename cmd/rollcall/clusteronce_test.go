package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// Leaders are killed while a client begins and ends registrations. Each command is sent until its outcome is known, with its
// key, and is carried out once: none finds that it was carried out already.
func TestACommandIsCarriedOutOnceThroughTheDeathOfLeaders(t *testing.T) {
	c := newTrio(t, nil)
	all := []string{"n1", "n2", "n3"}
	c.start(all...)
	registry := c.client(all...)
	key := domain.Key{Service: "web", ID: "once"}
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		pairs := 0
		defer func() { done <- pairs }()
		// send sends a command until its outcome is known.
		send := func(what string, do func(client.CommandOption) error) bool {
			once := client.Once(uuid.New())
			for began := time.Now(); ; {
				err := do(once)
				switch {
				case err == nil:
					return true
				case time.Since(began) > 2*time.Minute, !errors.As(err, new(*client.Unreachable)) && !isAway(err):
					t.Errorf("%s, pair %d: %v", what, pairs, err)
					return false
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		for {
			select {
			case <-stop:
				return
			default:
			}
			registered := send("register", func(once client.CommandOption) error {
				_, err := registry.Register(t.Context(), key, domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL}, client.CreateOnly(), once)
				return err
			})
			if !registered || !send("deregister", func(once client.CommandOption) error {
				_, err := registry.Deregister(t.Context(), key, "", once)
				return err
			}) {
				return
			}
			pairs++
		}
	}()
	for range 2 {
		time.Sleep(500 * time.Millisecond) // somewhere among the commands
		leader, others := c.leader("n1")
		c.kill(leader)
		c.leader(others[0])
		c.start(leader)
		c.leader("n1")
	}
	close(stop)
	pairs := <-done
	var events, registrations int
	for e, err := range registry.Events(t.Context(), client.EventQuery{Service: "web"}) {
		if err != nil {
			t.Fatal(err)
		}
		events++
		if e.Type == domain.TypeInstanceRegistered {
			registrations++
		}
	}
	if pairs == 0 || !t.Failed() && (events != 2*pairs || registrations != pairs) {
		t.Errorf("%d registrations were begun and ended, and there are %d events, %d of them registrations", pairs, events, registrations)
	}
	t.Log(fmt.Sprint(pairs, " pairs"))
}

// isAway says whether a node answered that it cannot serve now.
func isAway(err error) bool {
	var said interface{ NodeCannotServe() bool }
	return errors.As(err, &said) && said.NodeCannotServe()
}
