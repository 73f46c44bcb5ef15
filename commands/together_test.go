package commands_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func parts(all ...domain.Command) (parts []commands.Part) {
	for _, c := range all {
		parts = append(parts, commands.Part{Caller: caller, Request: commands.Request{Command: c}})
	}
	return parts
}

func TestCommandsTogetherAreCarriedOutAllOrNot(t *testing.T) {
	store := eventstoretest.NewMemory()
	n := start(t, store, true)
	defer n.stop()
	n.do(t, domain.RegisterInstance{Key: key("old"), Details: details(time.Minute)})
	register := domain.RegisterInstance{Key: key("new"), Details: details(time.Minute)}
	end := domain.DeregisterInstance{Key: key("old"), Reason: "moved"}
	var unknown domain.UnknownInstance
	if _, err := n.service.Together(ctx, parts(register, end, domain.DeregisterInstance{Key: key("other")})...); !errors.As(err, &unknown) {
		t.Errorf("with a command that is refused: %v", err)
	}
	stale := uint64(7)
	matched := parts(register, end)
	matched[1].IfMatch = &stale
	if _, err := n.service.Together(ctx, matched...); !errors.As(err, new(domain.RevisionMismatch)) {
		t.Errorf("at another revision: %v", err)
	}
	if got := types(t, store, key("new")) + types(t, store, key("old")); got != "InstanceRegistered " {
		t.Errorf("what was refused wrote %s", got)
	}
	results, err := n.service.Together(ctx, parts(register, end)...)
	if err != nil || !results[0].Created || results[1].Position != results[0].Position+1 {
		t.Errorf("%+v, %v", results, err)
	}
	if n.projections.Catalog().Find(key("old")) != nil || n.projections.Catalog().Find(key("new")) == nil {
		t.Error("the catalog does not show what was answered")
	}
	if results, err = n.service.Together(ctx, parts(register)...); err != nil || results[0].Outcome != commands.RegistrationRenewed {
		t.Errorf("a registration that changes nothing: %+v, %v", results, err)
	}
	if got := types(t, store, key("new")) + types(t, store, key("old")); got != "InstanceRegistered InstanceRegistered InstanceDeregistered " {
		t.Errorf("the instances have %s", got)
	}
}

// Nothing is written where another request changes an instance between the look at it and the append.
func TestCommandsTogetherAreContendedAsAWhole(t *testing.T) {
	memory := eventstoretest.NewMemory()
	store := &between{Store: memory}
	n := start(t, store, true)
	defer n.stop()
	other := start(t, memory, true)
	defer other.stop()
	other.do(t, domain.RegisterInstance{Key: key("old"), Details: details(time.Minute)})
	store.happen = func() { other.do(t, domain.ChangeTraffic{Key: key("old"), Traffic: domain.Draining}) }
	all := parts(domain.RegisterInstance{Key: key("new"), Details: details(time.Minute)}, domain.DeregisterInstance{Key: key("old")})
	if _, err := n.service.Together(ctx, all...); !errors.Is(err, commands.ErrContended) {
		t.Errorf("%v", err)
	}
	if got := types(t, memory, key("new")); got != "" {
		t.Errorf("the first command wrote %s", got)
	}
	if _, err := n.service.Together(ctx, all...); err != nil {
		t.Error(err)
	}
}

// A policy judges each removal among them, and what it admitted is taken back where another command is refused.
func TestPoliciesJudgeCommandsTogether(t *testing.T) {
	nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 1, domain.PolicySpec{MinReady: "1"})
	defer stop()
	n := nodes[0]
	for i := range 2 {
		n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(time.Minute)})
	}
	register := domain.RegisterInstance{Key: key("new"), Details: details(time.Minute)}
	both := parts(register, domain.DeregisterInstance{Key: key("0")}, domain.DeregisterInstance{Key: key("1")})
	if _, err := n.service.Together(ctx, both...); !errors.As(err, new(domain.Guarded)) {
		t.Errorf("of both: %v", err)
	}
	if got := n.ready(t); got != 2 {
		t.Errorf("%d are ready, want both", got)
	}
	if _, err := n.service.Together(ctx, both[:2]...); err != nil {
		t.Errorf("of one: %v", err)
	}
	both[2].Itself = true
	if _, err := n.service.Together(ctx, both[2]); err != nil {
		t.Errorf("by itself: %v", err)
	}
	guarded := ""
	for e, err := range n.store.ReadStream(ctx, eventstore.GuardStream("default"), eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		guarded += e.Type + " "
	}
	if guarded != "RemovalAdmitted RemovalWithdrawn RemovalAdmitted " {
		t.Errorf("the guard stream has %s", guarded)
	}
}
