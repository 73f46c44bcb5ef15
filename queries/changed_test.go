package queries_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A past moment is told with the positions with which it was told when it was the present: also of services that had no instance any
// more, and also where the catalog of the moment is made from a snapshot, which does not have these services.
func TestPositionsOfThePastAreThoseOfThen(t *testing.T) {
	r := start(t)
	settle := r.withHistory()
	newest := eventstore.Position(0) // of the namespace
	told := func(at string) (all []string) {
		c, err := r.Catalog(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		add := func(name string, reply []byte, err error) {
			var has struct {
				Position wire.Position `json:"position"`
			}
			if err == nil {
				err = json.Unmarshal(reply, &has)
			}
			if err != nil {
				t.Fatal(name, err)
			}
			all = append(all, fmt.Sprint(name, " ", has.Position))
		}
		page, err := queries.ParseListPage("2", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, service := range []string{"web", "db", "never"} {
			of := domain.ServiceKey{Namespace: "default", Service: service}
			form, err := c.Instances(t.Context(), of, queries.InstanceFilter{}, false)
			add(service, form.Bytes, err)
			form, err = c.InstancesPage(t.Context(), of, queries.InstanceFilter{Ready: true}, false, page)
			add(service+", a page", form.Bytes, err)
		}
		form, err := c.Services(t.Context(), "default")
		add("services", form.Bytes, err)
		form, err = c.ServicesPage(t.Context(), "default", page)
		add("services, a page", form.Bytes, err)
		form, err = c.Namespaces(t.Context())
		add("namespaces", form.Bytes, err)
		var list wire.NamespaceList
		if err := json.Unmarshal(form.Bytes, &list); err != nil {
			t.Fatal(err)
		}
		for _, n := range list.Namespaces {
			all = append(all, fmt.Sprint(n.Namespace, " ", n.Position))
			if at == "" && n.Position.Number < newest {
				t.Errorf("the namespace's position fell from %d to %d", newest, n.Position.Number)
			}
			newest = max(newest, n.Position.Number)
		}
		return all
	}
	snapshots := projections.Snapshots{Dir: t.TempDir(), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: uuid.UUID{1}, Logger: slog.New(slog.DiscardHandler)}
	then := map[uint64][]string{}
	note := func() {
		settle()
		at := r.Live.Position()
		then[uint64(at)] = told("")
		if err := snapshots.Save(projections.Mark{Position: at, Events: uint64(at)}, r.Live.Catalog().Freeze().Encode); err != nil {
			t.Fatal(err)
		}
	}
	note()
	for range 2 {
		r.register(key("web", "a"), "eu")
		note()
		r.register(key("db", "a"), "eu")
		note()
		r.register(key("cart", "a"), "eu")
		note()
		r.deregister(key("cart", "a"))
		note()
		r.deregister(key("web", "a"))
		note()
		r.append("webhook-w", domain.WebhookResumed{})
		note()
		r.deregister(key("db", "a"))
		note()
	}
	for name, past := range map[string]*asof.Past{"from the events": r.Past, "from snapshots": asof.New(r.store, snapshots)} {
		r.Past = past
		for at, want := range then {
			if got := told(fmt.Sprint(at)); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, position %d is told as\n%v\nand was told as\n%v", name, at, got, want)
			}
		}
	}
}
