package agent_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

func TestAnInstanceWhoseCheckStaysCriticalIsDeregisteredUntilItPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		definition := "service: cart\nports: {http: 80}\ndrain: 3s\nchecks: [{id: web, kind: tcp, port: http, interval: 5s, remove_after: 1m}, {id: other, kind: tcp, port: http, interval: 5s}]"
		write(t, filepath.Join(folder, "cart.yaml"), definition)
		g := run(t, r, folder, true)
		time.Sleep(10 * time.Second)
		g.sick.Store("other") // has no remove_after
		time.Sleep(5 * time.Minute)
		if i := g.instance("cart", "host-1"); !i.Live() || i.Status != domain.Critical || i.Epoch != 1 || i.Details.Checks[0].RemoveAfter != 0 {
			t.Errorf("the other check is critical: %+v", i)
		}
		g.sick.Store("web")
		time.Sleep(50 * time.Second)
		if !g.instance("cart", "host-1").Live() {
			t.Error("it is deregistered too early")
		}
		time.Sleep(30 * time.Second)
		if g.instance("cart", "host-1").Live() {
			t.Error("it is not deregistered")
		}
		time.Sleep(5 * time.Minute)
		if i := g.instance("cart", "host-1"); i.Live() || i.Epoch != 1 {
			t.Errorf("while the check is critical: %+v", i)
		}
		g.sick.Store("none")
		time.Sleep(15 * time.Second)
		if i := g.instance("cart", "host-1"); !i.Live() || i.Epoch != 2 || i.Status != domain.Passing || i.Traffic != domain.Serving {
			t.Errorf("after the check passes: %+v", i)
		}
		g.sick.Store("web")
		time.Sleep(2 * time.Minute)
		write(t, filepath.Join(folder, "cart.yaml"), definition+"\nversion: v2")
		time.Sleep(4 * time.Second)
		if i := g.instance("cart", "host-1"); !i.Live() || i.Epoch != 3 || i.Details.Version != "v2" {
			t.Errorf("after its definition changed: %+v", i)
		}
		g.end()
		if g.instance("cart", "host-1").Live() {
			t.Error("it stays after the end")
		}
	})
}
