package queries_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// What is encoded instance by instance is what encoding the whole gives.
func TestListsAreEncodedAsTheirValuesAre(t *testing.T) {
	r := start(t)
	for i := range 5 {
		r.register(key([]string{"web", "db"}[i%2], fmt.Sprint(i)), fmt.Sprint("z", i%2))
	}
	live, err := r.Catalog(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	same := func(name string, got []byte, value any) {
		t.Helper()
		if err := json.Unmarshal(got, value); err != nil {
			t.Fatalf("%s: %v in %s", name, err, got)
		}
		want, err := json.Marshal(value)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
	for _, filter := range []queries.InstanceFilter{{}, {Ready: true}, {Zone: "z1"}, {Zone: "none"}} {
		for _, service := range []string{"web", "db", "none"} {
			list, err := live.Instances(t.Context(), domain.ServiceKey{Namespace: "default", Service: service}, filter, false)
			if err != nil {
				t.Fatal(err)
			}
			same(fmt.Sprintf("the list of %s by %v", service, filter), list.Bytes, new(wire.InstanceList))
		}
		update, err := follow(t, r, queries.FollowQuery{Filter: filter}).Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(fmt.Sprintf("the snapshot by %v", filter), update.(queries.Snapshot).JSON.Bytes, new(wire.CatalogSnapshot))
	}
	for _, namespace := range []string{"", "default", "none"} {
		all, err := live.Everything(t.Context(), namespace, queries.InstanceFilter{})
		if err != nil {
			t.Fatal(err)
		}
		same("the catalog of "+namespace, all.Bytes, new(wire.Catalog))
	}
}

// Followers that begin at one position with equal filters share one snapshot.
func TestFollowersShareTheSnapshotOfAPosition(t *testing.T) {
	r := start(t)
	first := func(q queries.FollowQuery) *byte {
		update, err := follow(t, r, q).Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return &update.(queries.Snapshot).JSON.Bytes[0]
	}
	r.register(key("web", "1"), "z1")
	service := domain.ServiceKey{Namespace: "default", Service: "web"}
	for name, q := range map[string]queries.FollowQuery{
		"all": {}, "a namespace": {Namespace: "default"}, "a service": {Service: service}, "a zone": {Filter: queries.InstanceFilter{Zone: "z1"}},
	} {
		before := first(q)
		if first(q) != before {
			t.Errorf("%s: two followers have two snapshots", name)
		}
		r.register(key("web", "2"+name[:1]), "z1")
		if first(q) == before {
			t.Errorf("%s: the snapshot is of an earlier position", name)
		}
	}
}
