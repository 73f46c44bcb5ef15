package domain_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

func anyDetails(t *rapid.T) domain.Details {
	return domain.Details{
		Address:  rapid.SampledFrom([]string{"10.0.0.5", "::1", "db.example.com"}).Draw(t, "address"),
		Ports:    rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), rapid.Uint16Range(1, 65535), 0, 3).Draw(t, "ports"),
		Tags:     rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 0, 3).Draw(t, "tags"),
		Metadata: rapid.MapOfN(rapid.StringN(1, 4, 16).Filter(printable), rapid.StringN(0, 4, 16).Filter(printable), 0, 2).Draw(t, "metadata"),
		Weight:   rapid.Uint16().Draw(t, "weight"),
		Status:   rapid.SampledFrom([]domain.Status{domain.Starting, domain.Passing, domain.Warning, domain.Critical}).Draw(t, "status"),
		TTL:      domain.Duration(rapid.Int64Range(int64(domain.MinTTL), int64(domain.MaxTTL)).Draw(t, "ttl")),
	}
}

func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

func anyCommand(t *rapid.T) domain.Command {
	epoch := rapid.Uint64Range(0, 3).Draw(t, "epoch")
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return domain.RegisterInstance{Key: key, Details: anyDetails(t)}
	case 1:
		return domain.SendHeartbeat{Key: key, Epoch: epoch}
	case 2:
		return domain.ReportHealth{Key: key, Epoch: epoch, Source: domain.FromCheck,
			Status: rapid.SampledFrom([]domain.Status{domain.Passing, domain.Critical}).Draw(t, "to")}
	case 3:
		return domain.ChangeTraffic{Key: key, Epoch: epoch,
			Traffic: rapid.SampledFrom([]domain.Traffic{domain.Serving, domain.Draining}).Draw(t, "to")}
	case 4:
		return domain.DeregisterInstance{Key: key, Epoch: epoch}
	}
	return domain.ExpireLease{Key: key, Epoch: epoch, LastHeartbeat: time.Unix(1, 0).UTC()}
}

// Any sequence of commands yields a legal history: epochs count up by one and only a registration
// begins one, only a live instance changes or ends, every change says what was before, and the
// history folds to the same state from its stored form.
func TestAnyCommandsYieldALegalHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := domain.Instance{Key: key}
		var history []domain.Event
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			command := anyCommand(t)
			if err := command.Validate(); err != nil {
				t.Fatalf("%+v: %v", command, err)
			}
			events, err := domain.Decide(state, command)
			if err != nil && len(events) > 0 {
				t.Fatalf("refused and decided: %v, %+v", err, events)
			}
			for _, event := range events {
				requireLegal(t, state, event)
				state = domain.Evolve(state, event)
				history = append(history, event)
			}
		}
		again := domain.Instance{Key: key}
		for _, event := range history {
			data, err := domain.Encode(event)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := domain.DecodeEvent(event.EventType(), data)
			if err != nil {
				t.Fatal(err)
			}
			again = domain.Evolve(again, stored)
		}
		if !reflect.DeepEqual(again, state) {
			t.Fatalf("folded again to %+v, want %+v", again, state)
		}
	})
}

func requireLegal(t *rapid.T, before domain.Instance, event domain.Event) {
	legal := before.Live()
	switch e := event.(type) {
	case domain.InstanceRegistered:
		legal = !before.Live() && e.Epoch == before.Epoch+1
	case domain.InstanceUpdated:
		legal = legal && e.Epoch == before.Epoch && len(e.Changed) > 0 &&
			reflect.DeepEqual(e.Changed, before.Details.Diff(e.Details))
	case domain.HeartbeatReceived:
		legal = legal && e.Epoch == before.Epoch
	case domain.HealthChanged:
		legal = legal && e.Epoch == before.Epoch && e.From == before.Status && e.To != e.From
	case domain.TrafficChanged:
		legal = legal && e.Epoch == before.Epoch && e.From == before.Traffic && e.To != e.From
	case domain.InstanceDeregistered:
		legal = legal && e.Epoch == before.Epoch
	case domain.LeaseExpired:
		legal = legal && e.Epoch == before.Epoch && e.TTL == before.Details.TTL
	}
	if !legal {
		t.Fatalf("%T %+v is not legal after %+v", event, event, before)
	}
}
