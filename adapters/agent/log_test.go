package agent_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

// A registry that is away is told once, not once for each instance.
func TestARegistryThatIsAwayIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		all := "instances:\n"
		for n := range 50 {
			all += fmt.Sprintf("- {service: pay, id: p-%d, ttl: 5m}\n", n)
		}
		write(t, filepath.Join(folder, "pay.yaml"), all)
		g := run(t, r, folder, false)
		time.Sleep(10 * time.Minute)
		r.SetAway(errors.New("connection refused"))
		time.Sleep(10 * time.Minute)
		r.SetAway(nil)
		time.Sleep(10 * time.Minute)
		g.end()
		log := g.log.String()
		for words, times := range map[string]int{"kept registered": 2, "connection refused": 1, "instances are kept registered again": 1, "an instance is registered": 51} {
			if strings.Count(log, words) != times {
				t.Errorf("it says %d times %q, want %d:\n%s", strings.Count(log, words), words, times, log)
			}
		}
	})
}

// A registry that was restored may have the instance in an earlier epoch. The epoch that is logged is the one that it has.
func TestTheEpochAfterARestoreIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		write(t, filepath.Join(folder, "pay.yaml"), "{service: pay, id: p-1}")
		g := run(t, r, folder, false)
		time.Sleep(time.Minute)
		backup := r.Backup()
		if err := r.Do(domain.DeregisterInstance{Key: domain.Key{Namespace: "default", Service: "pay", ID: "p-1"}, Owner: "agent:host-1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.SetAway(errors.New("connection refused"))
		time.Sleep(time.Minute)
		r.Restore(backup)
		r.SetAway(nil)
		time.Sleep(time.Minute)
		g.end()
		var epochs []string
		for line := range strings.Lines(g.log.String()) {
			if _, epoch, ok := strings.Cut(line, "instance=default/pay/p-1 epoch="); ok {
				epochs = append(epochs, strings.TrimSpace(epoch))
			}
		}
		if got := strings.Join(epochs, " "); got != "1 2 1" {
			t.Errorf("the epochs %s are logged:\n%s", got, g.log.String())
		}
	})
}
