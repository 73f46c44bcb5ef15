package commands_test

import (
	"crypto/sha256"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/access"
)

// decidesLate is a state of access of which something happens before the next decision.
type decidesLate struct {
	*access.Table
	happen func() // nil: it happened
}

func (s *decidesLate) Decide(c domain.AccessCommand) (domain.Event, uint64, error) {
	if happen := s.happen; happen != nil {
		s.happen = nil
		happen()
	}
	return s.Table.Decide(c)
}

// A request that another node carries out just before this one decides is not carried out on top of itself: a second rotation would
// end the old secret, which is to stay good.
func TestARotationThatIsUnderWayTwiceIsCarriedOutOnce(t *testing.T) {
	store := eventstoretest.NewMemory()
	table, err := access.Open(ctx, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() { _ = table.Run(t.Context(), store) }) // it ends with the store
	defer func() { _ = store.Close(); group.Wait() }()
	derive := func(from string) ([]byte, error) {
		sum := sha256.Sum256([]byte(from))
		return sum[:], nil
	}
	state := &decidesLate{Table: table}
	late := &commands.Access{Store: store, State: state, Now: time.Now, Derive: derive}
	other := &commands.Access{Store: store, State: table, Now: time.Now, Derive: derive}
	old, err := other.Create(ctx, caller, "ci", domain.TokenSpec{Roles: []string{"reader"}})
	if err != nil {
		t.Fatal(err)
	}
	keyed := commands.Caller{Actor: "ann", Keyed: &commands.Keyed{Key: uuid.NewString()}}
	var first string
	state.happen = func() {
		if first, err = other.Rotate(ctx, keyed, "ci", time.Hour, nil); err != nil {
			t.Fatal(err)
		}
	}
	second, err := late.Rotate(ctx, keyed, "ci", time.Hour, nil)
	if err != nil || second != first || state.happen != nil {
		t.Errorf("%v: the secrets are equal: %t", err, second == first)
	}
	events := 0
	for e, err := range store.ReadStream(ctx, eventstore.AccessStream, eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == domain.TypeTokenRotated {
			events++
		}
	}
	if events != 1 {
		t.Errorf("the token was rotated %d times", events)
	}
	for name, secret := range map[string]string{"old": old, "new": first} {
		hash, _ := commands.HashSecret(secret)
		if table.Find(hash) == nil {
			t.Errorf("the %s secret is not good", name)
		}
	}
}
