package raftstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// notes are the notes of a node as text.
func (c *cluster) notes(name, prefix string) (text string) {
	c.t.Helper()
	found, err := c.nodes[name].Notes(ctx, prefix)
	if err != nil {
		c.t.Fatalf("notes of %s: %v", name, err)
	}
	for _, n := range found {
		text += fmt.Sprintf("%s=%s ", n.Name, n.Value)
	}
	return text
}

func note(name, value string) pebblestore.Note {
	return pebblestore.Note{Name: name, Value: []byte(value)}
}

func TestOnlyTheLeaderOfTheTermKeepsNotes(t *testing.T) {
	c := newCluster(t, three...)
	c.change = func(config *raftstore.Config) {
		if config.Node == "n1" { // the first by name founds
			config.Notes = func() ([]pebblestore.Note, error) { return []pebblestore.Note{note("b/1", "first")}, nil }
		}
	}
	c.startAll()
	leader := c.leader()
	term, _ := c.nodes[leader].Leads()
	if err := c.nodes[leader].Note(ctx, term, []pebblestore.Note{note("a/1", "x"), note("a/2", "y")}); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[leader].Note(ctx, term, []pebblestore.Note{note("a/1", ""), note("a/2", "z")}); err != nil {
		t.Fatal(err)
	}
	if got := c.notes(leader, "a/"); got != "a/2=z " {
		t.Errorf("the leader has the notes %q", got)
	}
	if got := c.notes(leader, ""); got != "a/2=z b/1=first " {
		t.Errorf("the leader has the notes %q", got)
	}
	follower := c.follower()
	if err := c.nodes[follower].Note(ctx, term, []pebblestore.Note{note("a/2", "wrong")}); !errors.Is(err, eventstore.ErrOtherTerm) {
		t.Errorf("a follower answered a note with %v", err)
	}
	c.until("the lead to move", func() bool { return c.nodes[leader].Transfer(ctx, follower) == nil && c.leader() == follower })
	if got := c.notes(follower, "a/"); got != "a/2=z " {
		t.Errorf("the next leader has the notes %q", got)
	}
	if err := c.nodes[leader].Note(ctx, term, []pebblestore.Note{note("a/2", "late")}); !errors.Is(err, eventstore.ErrOtherTerm) {
		t.Errorf("the earlier leader answered a note with %v", err)
	}
	for _, name := range three {
		c.stop(name)
	}
	c.startAll()
	if got := c.notes(c.leader(), ""); got != "a/2=z b/1=first " {
		t.Errorf("after a restart the leader has the notes %q", got)
	}
}

// Notes go to an empty node with the store.
func TestANodeThatReceivesTheStoreHasItsNotes(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	leader := c.leader()
	term, _ := c.nodes[leader].Leads()
	if err := c.nodes[leader].Note(ctx, term, []pebblestore.Note{note("a", "x")}); err != nil {
		t.Fatal(err)
	}
	c.start("n4")
	if err := c.nodes[leader].Add(ctx, "n4", "address of n4"); err != nil {
		t.Fatal(err)
	}
	if got := c.notes("n4", ""); got != "a=x " {
		t.Errorf("the new node has the notes %q", got)
	}
}
