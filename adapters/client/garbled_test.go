package client_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// An empty object, half a change or a message out of order must not change a copy of the catalog, least of all empty it.
func TestAGarbledMessageChangesNoCopy(t *testing.T) {
	for name, garbled := range map[string]string{
		"a snapshot of nothing":            "id: 6\nevent: snapshot\ndata: {}\n\n",
		"a snapshot of null":               "id: 6\nevent: reset\ndata: null\n\n",
		"a snapshot of another kind":       "id: 6\nevent: snapshot\ndata: {\"status\":\"ok\"}\n\n",
		"a service without a list":         "id: 6\nevent: snapshot\ndata: {\"services\":[{\"namespace\":\"default\",\"service\":\"web\"}]}\n\n",
		"an instance without a name":       "id: 6\nevent: snapshot\ndata: {\"instances\":[{}]}\n\n",
		"a change of no kind":              "id: 6\nevent: change\ndata: {\"namespace\":\"default\",\"service\":\"web\",\"id\":\"a\"}\n\n",
		"a change of another instance":     strings.Replace(put(6, "b"), `"id":"b"`, `"id":"a"`, 1),
		"a change without a name":          "id: 6\nevent: change\ndata: {\"op\":\"delete\"}\n\n",
		"half a change":                    "id: 6\nevent: change\ndata: {\"op\":\"del\n\n",
		"a change from before":             put(4, "b"),
		"an id that is no position":        strings.Replace(put(6, "b"), "id: 6", "id: 6\x01", 1),
		"an id greater than any position":  strings.Replace(put(6, "b"), "id: 6", "id: 99999999999999999999", 1),
		"an id less than any position":     strings.Replace(put(6, "b"), "id: 6", "id: -6", 1),
		"a message without an event's end": "id: 6\nevent: snapshot\ndata: {\"instances\":[]}\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{saysAndEnds(snapshot(5, "a"), garbled), says(put(7, "c"))}}
			told, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web}, 2)
			if fmt.Sprint(told) != "[snapshot 5]" && fmt.Sprint(told) != "[snapshot 5 change 7]" || err != nil && !errors.As(err, new(*client.NotRollcall)) {
				t.Errorf("%s: told %v, %v", name, told, err)
			}
		})
	}
}

// A later registry may send messages of other kinds, which this version passes over without connecting again.
func TestAMessageOfAnotherKindIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{says(snapshot(5, "a"), "id: 6\nevent: hologram\ndata: {\"shape\":\"round\"}\n\n", put(7, "c"))}}
		told, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web}, 2)
		if fmt.Sprint(told) != "[snapshot 5 change 7]" || err != nil || len(s.asked) != 1 {
			t.Errorf("told %v, %v, after %d requests", told, err, len(s.asked))
		}
	})
}

// A registry whose streams end after their snapshots is asked ever more seldom.
func TestAStreamThatEndsAfterItsSnapshotIsAskedForMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{saysAndEnds(snapshot(5, "a"))}}
		c := s.client(t)
		for range c.Follow(t.Context(), client.FollowQuery{Service: web}) {
			if time.Since(s.began) > time.Minute {
				break
			}
		}
		if len(s.asked) > 30 {
			t.Errorf("%d requests within a minute", len(s.asked))
		}
	})
}

// An event that comes again, or from before, is not told: a consumer would move its checkpoint back.
func TestEventsThatComeAgainAreNotTold(t *testing.T) {
	for name, read := range map[string]struct {
		step   step
		events func(*client.Client) func(func(client.Event, error) bool)
	}{
		"transfer": {step{status: 200, body: line(7) + "\n" + line(9) + "\n" + line(8) + "\n"}, func(c *client.Client) func(func(client.Event, error) bool) {
			return c.Events(t.Context(), client.EventQuery{})
		}},
		"stream": {says(message(7), message(9), message(9)), func(c *client.Client) func(func(client.Event, error) bool) {
			return c.StreamEvents(t.Context(), client.EventQuery{From: "0"})
		}},
	} {
		s := &script{steps: []step{read.step}}
		var positions []eventstore.Position
		var broken *client.Broken
		for e, err := range read.events(s.client(t)) {
			if err == nil {
				positions = append(positions, e.Position)
			} else if !errors.As(err, &broken) || broken.After != 9 {
				t.Errorf("%s ends with %v", name, err)
			}
		}
		if fmt.Sprint(positions) != "[7 9]" || broken == nil {
			t.Errorf("%s: %v", name, positions)
		}
	}
}

// A transfer on which nothing comes any more ends.
func TestATransferThatStallsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{says(line(7) + "\n")}}
		var last error
		for _, err := range s.client(t).Events(t.Context(), client.EventQuery{}) {
			last = err
		}
		var broken *client.Broken
		if !errors.As(last, &broken) || broken.After != 7 || time.Since(s.began) != 5*time.Minute {
			t.Errorf("after %v: %v", time.Since(s.began), last)
		}
	})
}
