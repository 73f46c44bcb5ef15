package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// fakeMembership is the membership of a cluster without nodes.
type fakeMembership struct {
	mu      sync.Mutex
	members domain.Members
	leads   bool
	moved   string
	fails   error
	adding  string // a node without a vote; "": there is none
}

func (m *fakeMembership) Leads() (uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 1, m.leads
}

func (m *fakeMembership) Self() string { return "n1" }

func (m *fakeMembership) AddMember(_ context.Context, one domain.Member) error {
	return m.change(domain.MemberAdded{Member: one})
}

func (m *fakeMembership) RemoveMember(_ context.Context, id string) error {
	return m.change(domain.MemberRemoved{Member: domain.Member{ID: id}})
}

func (m *fakeMembership) change(event domain.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if removed, ok := event.(domain.MemberRemoved); ok && removed.ID == m.adding {
		m.adding = ""
	}
	if m.fails == nil {
		m.members = m.members.After(event)
	}
	return m.fails
}

func (m *fakeMembership) Learners() []domain.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.adding == "" {
		return nil
	}
	return []domain.Member{member(m.adding)}
}

func (m *fakeMembership) TransferLead(_ context.Context, id string) error {
	m.moved = id
	return m.fails
}

func (m *fakeMembership) Members() []domain.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.members)
}

// applied is a projection that is always there.
type applied struct{}

func (applied) Position() eventstore.Position { return 0 }

func (applied) WaitFor(context.Context, eventstore.Position) error { return nil }

func member(id string) domain.Member { return domain.Member{ID: id, Address: id + ".example:7950"} }

// newCluster is a cluster of n1 and n2, of which nothing is recorded.
func newCluster() (*commands.Cluster, *fakeMembership, *eventstoretest.Memory) {
	store, members := eventstoretest.NewMemory(), &fakeMembership{leads: true, members: domain.Members{member("n1"), member("n2")}}
	return &commands.Cluster{Store: store, Projections: applied{}, Membership: members, Logger: slog.New(slog.DiscardHandler)}, members, store
}

// told are the events of the registry's stream, as "type id actor reason".
func told(t *testing.T, store eventstore.Store) string {
	t.Helper()
	var all []string
	for e, err := range store.ReadStream(t.Context(), eventstore.RegistryStream, eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			t.Fatal(err)
		}
		var by struct{ Actor string }
		if err := json.Unmarshal(e.Metadata, &by); err != nil {
			t.Fatal(err)
		}
		line := e.Type
		switch one := event.(type) {
		case domain.ClusterStarted:
			line += fmt.Sprint(" ", len(one.Members))
		case domain.MemberAdded:
			line += " " + one.ID + " " + one.Reason
		case domain.MemberRemoved:
			line += " " + one.ID + " " + one.Reason
		}
		all = append(all, strings.TrimSpace(line)+" by "+by.Actor)
	}
	return strings.Join(all, "; ")
}

var operator = commands.Caller{Actor: "ann", Via: domain.ViaCLI}

func TestWhoAddsAndRemovesMembersIsRecorded(t *testing.T) {
	c, members, store := newCluster()
	if err := c.Add(t.Context(), operator, member("n3"), "a third"); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(t.Context(), operator, member("n3"), "again"); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), operator, "n2", "broken"); err != nil {
		t.Fatal(err)
	}
	if got, want := told(t, store), "ClusterStarted 2 by rollcall; MemberAdded n3 a third by ann; MemberRemoved n2 broken by ann"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	if got := fmt.Sprint(members.Members()); got != fmt.Sprint([]domain.Member{member("n1"), member("n3")}) {
		t.Error(got)
	}
}

// A node that died while it was added has no vote, and would hold up what needs all nodes.
func TestANodeThatGotNoVoteCanBeRemoved(t *testing.T) {
	c, members, store := newCluster()
	members.adding = "n3"
	if err := c.Remove(t.Context(), commands.Caller{Actor: "alice"}, "n3", "its machine is gone"); err != nil {
		t.Fatal(err)
	}
	if left := members.Learners(); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if got := told(t, store); strings.Contains(got, "n3") {
		t.Errorf("it is told of a node that was no member: %s", got)
	}
}

func TestACommandAboutMembersThatCannotBeIsRefused(t *testing.T) {
	c, members, store := newCluster()
	for name, want := range map[string]struct {
		do func() error
		is any
	}{
		"a name for no certificate":  {func() error { return c.Add(t.Context(), operator, domain.Member{ID: "N 3", Address: "a:1"}, "") }, new(domain.InvalidField)},
		"no address":                 {func() error { return c.Add(t.Context(), operator, domain.Member{ID: "n3"}, "") }, new(domain.InvalidField)},
		"a stranger is removed":      {func() error { return c.Remove(t.Context(), operator, "n9", "") }, new(domain.UnknownMember)},
		"a node removes itself":      {func() error { return c.Remove(t.Context(), operator, "n1", "") }, new(domain.MemberRefused)},
		"a stranger gets the lead":   {func() error { return c.Transfer(t.Context(), "n9") }, new(domain.UnknownMember)},
		"a reason that is too long":  {func() error { return c.Remove(t.Context(), operator, "n2", strings.Repeat("x", domain.MaxReason+1)) }, new(domain.InvalidField)},
		"nothing is there to remove": {func() error { return c.Remove(t.Context(), operator, "", "") }, new(domain.InvalidField)},
	} {
		if err := want.do(); err == nil || !errors.As(err, want.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	members.members = domain.Members{member("n2")}
	if err := c.Remove(t.Context(), operator, "n2", ""); !errors.As(err, new(domain.MemberRefused)) {
		t.Errorf("the only member: %v", err)
	}
	members.fails = eventstore.ErrUnavailable
	if err := c.Add(t.Context(), operator, member("n3"), ""); !errors.Is(err, eventstore.ErrUnavailable) || strings.Contains(told(t, store), "n3") {
		t.Errorf("%v; told %s", err, told(t, store))
	}
}

func TestTheLeaderRecordsMembersThatNobodyRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, members, store := newCluster()
		members.leads = false
		ticks := make(chan time.Time)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.RecordMembers(ctx, ticks) }()
		tick := func() { ticks <- time.Now(); synctest.Wait() }
		tick()
		tick()
		if got := told(t, store); got != "" {
			t.Errorf("a follower told %s", got)
		}
		members.mu.Lock()
		members.leads = true
		members.mu.Unlock()
		tick()
		if got := told(t, store); got != "" {
			t.Errorf("at the first look %s was told", got)
		}
		tick()
		tick()
		if err := members.AddMember(ctx, member("n3")); err != nil { // by a node that died before it told
			t.Fatal(err)
		}
		tick()
		tick()
		if got, want := told(t, store), "ClusterStarted 2 by rollcall; MemberAdded n3 by rollcall"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Two nodes may see the same change at once: one of them records it.
func TestAChangeOfMembersIsRecordedOnce(t *testing.T) {
	c, members, store := newCluster()
	other := &commands.Cluster{Store: store, Projections: applied{}, Membership: members, Logger: c.Logger}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			by := []*commands.Cluster{c, other}[i%2]
			if err := by.Add(t.Context(), operator, member("n3"), "race"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got := told(t, store)
	if strings.Count(got, "ClusterStarted")+strings.Count(got, "MemberAdded n3") > 2 || strings.Count(got, "n3") > 1 {
		t.Errorf("told %s", got)
	}
}
