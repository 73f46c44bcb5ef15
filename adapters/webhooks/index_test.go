package webhooks

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// The index finds the webhooks whose selection picks an event, as a store with their filters would, and no other, after
// any additions and removals. Events of the registry's own nodes are for those that name their namespace.
func TestTheIndexMeansWhatSelectionsMean(t *testing.T) {
	names := rapid.SampledFrom([]string{"", "a", "b", "default"})
	namespaces := rapid.SampledFrom([]string{"", "a", "b", "default", domain.RegistryNamespace})
	types := rapid.SampledFrom(slices.Concat(domain.LifecycleTypes, []string{domain.TypeHeartbeatReceived}))
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		in := map[*hook]eventstore.Filter{}
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			if len(in) > 0 && rapid.Bool().Draw(t, "remove") {
				for h := range in {
					x.remove(h)
					x.remove(h)
					delete(in, h)
					break
				}
				continue
			}
			h := newHook(domain.Webhook{Spec: domain.WebhookSpec{
				Namespace: namespaces.Draw(t, "namespace"), Service: names.Draw(t, "service"), Types: rapid.SliceOfN(types, 0, 3).Draw(t, "types"),
			}})
			filter, err := queries.WebhookSelection(h.webhook.Spec).Filter()
			if err != nil {
				t.Fatal(err)
			}
			x.add(h)
			x.add(h)
			in[h] = filter
		}
		beats := 0
		for _, f := range in {
			if !f.SkipsHeartbeats() {
				beats++
			}
		}
		if x.beats != beats {
			t.Fatalf("%d webhooks pick heartbeats, want %d", x.beats, beats)
		}
		key := domain.Key{Namespace: rapid.SampledFrom([]string{"a", "b", "default", domain.RegistryNamespace}).Draw(t, "in"), Service: rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(t, "of"), ID: "i"}
		e := &eventstore.RecordedEvent{Stream: eventstore.LifecycleStream(key), EventData: eventstore.EventData{Type: rapid.SampledFrom(append(slices.Clone(domain.LifecycleTypes), "OfLater")).Draw(t, "type")}}
		if rapid.Bool().Draw(t, "heartbeat") {
			e.Stream, e.Type = eventstore.HeartbeatStream(key), domain.TypeHeartbeatReceived
		}
		found := map[*hook]bool{}
		x.find(e, func(h *hook) {
			if found[h] {
				t.Fatal("it is found twice")
			}
			found[h] = true
		})
		maps.DeleteFunc(in, func(h *hook, f eventstore.Filter) bool {
			ofNodes := key.Namespace == domain.RegistryNamespace && h.webhook.Spec.Namespace == "" // these it must name
			return ofNodes || !f.Match(e.Stream, e.Type)
		})
		if len(found) != len(in) {
			t.Fatalf("%d are found, want %d", len(found), len(in))
		}
		for h := range in {
			if !found[h] {
				t.Fatalf("%+v is not found", h.webhook.Spec)
			}
		}
	})
}
