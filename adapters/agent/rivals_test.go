package agent_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

// Two agents with one owner overwrite each other, which the registry takes for updates. The one that was overwritten says so once, and says
// when it is over.
func TestAnotherAgentWithTheSameOwnerIsNoticed(t *testing.T) {
	const otherwise, again = "otherwise than it is defined", "as it is defined again"
	for name, c := range map[string]struct{ mine, theirs, field string }{
		"details":      {"service: cart\nversion: v1", "service: cart\nversion: v2", `field=version cause="it has v2, and is defined with v1"`},
		"a check less": {checked, "service: cart\nports: {http: 80}", `field=checks cause="it has no check check-1, which is defined"`},
		"other checks": {checked, strings.Replace(checked, "healthz", "ready", 1), "field=checks"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mine, theirs, r := t.TempDir(), t.TempDir(), clienttest.New()
				write(t, filepath.Join(mine, "a.yaml"), c.mine)
				write(t, filepath.Join(theirs, "a.yaml"), c.theirs)
				g := run(t, r, mine, false)
				time.Sleep(10 * time.Minute)
				other := run(t, r, theirs, false)
				time.Sleep(10 * time.Minute)
				write(t, filepath.Join(theirs, "a.yaml"), c.mine)
				time.Sleep(10 * time.Minute)
				g.end()
				other.end()
				log := g.log.String()
				if strings.Count(log, otherwise) != 1 || !strings.Contains(log, c.field) || strings.Count(log, again) != 1 {
					t.Errorf("the agent that is overwritten says:\n%s", log)
				}
				if log := other.log.String(); strings.Contains(log, otherwise) || strings.Contains(log, again) {
					t.Errorf("the agent that overwrites says:\n%s", log)
				}
			})
		})
	}
}

// What others may add to an instance, and what the registry says of it, is no difference.
func TestWhatOthersAddToAnInstanceIsNoRival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		write(t, filepath.Join(folder, "a.yaml"), checked+"\nmetadata: {}\ntags: []\naddress: \"2001:DB8::0:1\"\n")
		write(t, filepath.Join(folder, "b.yaml"), "service: pay\nmetadata: {team: \"a/\\\"b%\"}\ntags: [z, a, ü]\naddress: \"2001:DB8::0:1\"\n")
		g := run(t, r, folder, false)
		time.Sleep(time.Minute)
		key := domain.Key{Namespace: "default", Service: "pay", ID: "host-1"}
		if err := r.Do(domain.ChangeTraffic{Key: key, Owner: "agent:host-1", Traffic: domain.Draining}); err != nil {
			t.Fatal(err)
		}
		if err := r.Do(domain.ReportHealth{Key: key, Owner: "agent:host-1", Status: domain.Warning, Source: domain.FromClient}); err != nil {
			t.Fatal(err)
		}
		g.passing.Store(false)
		time.Sleep(10 * time.Minute)
		g.end()
		if log := g.log.String(); strings.Contains(log, "otherwise than it is defined") {
			t.Errorf("the agent says:\n%s", log)
		}
	})
}
