package commands_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// All checks of an instance may change at once, each reported over a connection of its own, while operators change its traffic.
func TestManyCommandsToOneInstanceAtOnceAreCarriedOut(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	var checks []domain.Check
	for i := range domain.MaxChecks {
		checks = append(checks, ttlCheck(fmt.Sprint("c", i), domain.MaxTTL))
	}
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, checks...)})
	var group sync.WaitGroup
	many := func(command func(round int) domain.Command) {
		group.Go(func() {
			for round := range 20 {
				if r := n.service.Do(ctx, caller, commands.Request{Command: command(round)}); r.Err != nil {
					t.Errorf("round %d: %v", round, r.Err)
				}
			}
		})
	}
	for _, check := range checks {
		many(func(round int) domain.Command {
			return pass("a", check.ID, []domain.Status{domain.Critical, domain.Passing}[round%2])
		})
	}
	for range 4 {
		many(func(round int) domain.Command {
			return domain.ChangeTraffic{Key: key("a"), Traffic: []domain.Traffic{domain.Draining, domain.Serving}[round%2]}
		})
	}
	group.Wait()
	if e := n.projections.Catalog().Find(key("a")); e.Status() != domain.Passing || e.Traffic() != domain.Serving {
		t.Errorf("the instance is %s and %s after the last of all", e.Status(), e.Traffic())
	}
}
