package domain_test

import (
	"cmp"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

func anyDetails(t *rapid.T) domain.Details {
	return domain.Details{
		Address:  rapid.SampledFrom([]string{"10.0.0.5", "::1", "db.example.com"}).Draw(t, "address"),
		Ports:    rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), rapid.Uint16Range(1, 65535), 0, 3).Draw(t, "ports"),
		Tags:     rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 0, 3, rapid.ID).Draw(t, "tags"),
		Metadata: rapid.MapOfN(rapid.StringN(1, 4, 16).Filter(printable), rapid.StringN(0, 4, 16).Filter(printable), 0, 2).Draw(t, "metadata"),
		Weight:   rapid.Uint16().Draw(t, "weight"),
		Status:   rapid.SampledFrom([]domain.Status{"", domain.Starting, domain.Passing, domain.Warning, domain.Critical}).Draw(t, "status"),
		TTL:      domain.Duration(rapid.Int64Range(int64(domain.MinTTL), int64(domain.MaxTTL)).Draw(t, "ttl")),
		OnLapse:  rapid.SampledFrom([]domain.LapsePolicy{"", domain.LapseRemoves, domain.LapseCritical}).Draw(t, "on lapse"),
		Checks: rapid.SampledFrom([][]domain.Check{
			nil, nil, {}, {ttlCheckOf("a", 15)}, {ttlCheckOf("a", 16), httpCheck}, {httpCheck, ttlCheckOf("b", 1)},
		}).Draw(t, "checks"),
	}
}

func ttlCheckOf(id string, seconds int) domain.Check {
	return domain.Check{ID: id, Kind: domain.CheckTTL, TTL: domain.Duration(seconds) * domain.Duration(time.Second), RemoveAfter: domain.Duration(time.Minute)}
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
	epoch := rapid.SampledFrom([]uint64{0, 0, 0, 1, 2, 3}).Draw(t, "epoch")
	owner := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "owner")
	check := rapid.SampledFrom([]string{"a", "b", "http"}).Draw(t, "check")
	answer := rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning, domain.Critical}).Draw(t, "answer")
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 6:
		return domain.AddCheck{Key: key, Epoch: epoch, Owner: owner, Check: ttlCheckOf(check, 2)}
	case 7:
		return domain.RemoveCheck{Key: key, Epoch: epoch, Owner: owner, Check: check}
	case 8:
		return domain.ReportCheck{Key: key, Epoch: epoch, Owner: owner, Check: check, Status: answer}
	case 9:
		return domain.ReportProbe{Key: key, Epoch: epoch, Check: check, Revision: rapid.Uint64Range(0, 3).Draw(t, "revision"), Status: answer, By: "n1"}
	case 10:
		return domain.LapseCheck{Key: key, Epoch: epoch, Check: check, Revision: rapid.Uint64Range(0, 3).Draw(t, "revision")}
	case 11:
		return domain.RemoveCritical{Key: key, Epoch: epoch, Check: rapid.SampledFrom([]string{"", check}).Draw(t, "cause"), Since: recorded.At}
	case 0:
		return domain.RegisterInstance{Key: key, Owner: owner, Epoch: epoch, CreateOnly: rapid.Bool().Draw(t, "create only"), Details: anyDetails(t)}
	case 1:
		return domain.SendHeartbeat{Key: key, Epoch: epoch, Owner: owner}
	case 2:
		return domain.ReportHealth{Key: key, Epoch: epoch, Owner: owner, Source: domain.FromCheck,
			Status: rapid.SampledFrom([]domain.Status{domain.Passing, domain.Critical}).Draw(t, "to")}
	case 3:
		return domain.ChangeTraffic{Key: key, Epoch: epoch, Owner: owner,
			Traffic: rapid.SampledFrom([]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}).Draw(t, "to")}
	case 4:
		return domain.DeregisterInstance{Key: key, Epoch: epoch, Owner: owner}
	}
	return domain.ExpireLease{Key: key, Epoch: epoch, LastHeard: domain.LastHeard{LastHeartbeat: time.Unix(1, 0).UTC()}}
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
				before := state
				state = domain.Evolve(state, event, recorded)
				requireTold(t, before, event, state)
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
			again = domain.Evolve(again, stored, recorded)
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
		replaced := uint64(0)
		if before.Live() {
			replaced = before.Epoch
		}
		legal = e.Epoch == before.Epoch+1 && e.Replaces == replaced && e.Status != "" && e.Maintenance == before.Maintenance &&
			(replaced == 0 || e.Owner != "" && e.Owner != before.Owner)
	case domain.InstanceUpdated:
		was := before.Details
		was.Status = before.Status
		legal = legal && e.Epoch == before.Epoch && e.Owner == before.Owner && len(e.Changed) > 0 &&
			reflect.DeepEqual(slices.DeleteFunc(slices.Clone(e.Changed), func(f string) bool { return f == "reported" }), append([]string{}, was.Diff(e.Details)...)) && e.Status != "" &&
			(e.PreviousStatus != "") == (e.Status != before.Status) && (e.PreviousStatus == "" || e.PreviousStatus == before.Status)
	case domain.HeartbeatReceived:
		legal = legal && e.Epoch == before.Epoch
	case domain.HealthChanged:
		legal = legal && e.Epoch == before.Epoch && e.From == before.Status && (e.To != e.From || len(before.Checks) > 0 || !before.Lapsed.IsZero() || e.Lapsed)
	case domain.CheckAdded:
		_, had := before.Check(e.Check.ID)
		legal = legal && e.Epoch == before.Epoch && had == e.Replaces
	case domain.CheckRemoved:
		_, had := before.Check(e.Check)
		legal = legal && e.Epoch == before.Epoch && had
	case domain.CheckChanged:
		was, had := before.Check(e.Check)
		legal = legal && e.Epoch == before.Epoch && had && was.Status == e.From && e.From != e.To
	case domain.TrafficChanged:
		ended := before.Maintenance != nil && e.To == domain.Serving
		legal = (legal || ended) && e.Epoch == before.Epoch && e.From == before.Traffic && e.To != e.From
	case domain.InstanceDeregistered:
		legal = legal && e.Epoch == before.Epoch
	case domain.LeaseExpired:
		legal = legal && e.Epoch == before.Epoch && e.TTL == before.Details.TTL && (before.Details.OnLapse == "" || !e.CriticalSince.IsZero())
	}
	if !legal {
		t.Fatalf("%T %+v is not legal after %+v", event, event, before)
	}
}

// requireTold holds that an event tells the instance's status after it, and that this is the worst of what the instance says,
// of its checks and of its lease.
func requireTold(t *rapid.T, before domain.Instance, event domain.Event, after domain.Instance) {
	told, previous := after.Status, before.Status
	switch e := event.(type) {
	case domain.InstanceRegistered:
		told = e.Status
	case domain.InstanceUpdated:
		told, previous = e.Status, cmp.Or(e.PreviousStatus, e.Status)
	case domain.HealthChanged:
		told = e.To
	case domain.CheckAdded:
		told, previous = e.Status, cmp.Or(e.PreviousStatus, e.Status)
	case domain.CheckRemoved:
		told, previous = e.Status, cmp.Or(e.PreviousStatus, e.Status)
	case domain.CheckChanged:
		told, previous = e.Status, cmp.Or(e.PreviousStatus, e.Status)
	}
	worst := after.Says()
	order := []domain.Status{domain.Passing, domain.Warning, domain.Starting, domain.Critical}
	for _, c := range after.Checks {
		if slices.Index(order, c.Status) > slices.Index(order, worst) {
			worst = c.Status
		}
	}
	if !after.Lapsed.IsZero() {
		worst = domain.Critical
	}
	if told != after.Status || previous != before.Status || after.Status != worst || len(after.Checks) != len(after.Details.Checks) {
		t.Fatalf("%T %+v leads from %+v to %+v", event, event, before, after)
	}
}

// registerV1 and evolveV1 are how version 0.1 decided and folded a registration of a live instance.
func registerV1(i domain.Instance, d domain.Details) domain.InstanceUpdated {
	return domain.InstanceUpdated{Epoch: i.Epoch, Changed: i.Details.Diff(d), Details: d}
}

func evolveV1(i domain.Instance, event domain.Event) domain.Instance {
	if e, ok := event.(domain.InstanceUpdated); ok {
		if e.Details.Status != i.Details.Status {
			i.Status = e.Details.Status
		}
		i.Details = e.Details
		i.Events++
		return i
	}
	return domain.Evolve(i, event, recorded)
}

func TestEventsOfSchema1FoldAsTheyDidWhenTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statuses := []domain.Status{domain.Starting, domain.Passing, domain.Warning, domain.Critical}
		then := domain.Evolve(domain.Instance{Key: key}, registered, recorded)
		now := then
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			status := rapid.SampledFrom(statuses).Draw(t, "status")
			var event domain.Event = domain.HealthChanged{Epoch: 1, From: then.Status, To: status}
			if rapid.Bool().Draw(t, "update") {
				event = registerV1(then, moved(func(d *domain.Details) {
					d.Status, d.Zone = status, rapid.SampledFrom([]string{"", "eu"}).Draw(t, "zone")
				}))
			}
			then, now = evolveV1(then, event), domain.Evolve(now, event, recorded)
			if !reflect.DeepEqual(then, now) {
				t.Fatalf("%+v leads to %+v, and led to %+v", event, now, then)
			}
		}
	})
}
