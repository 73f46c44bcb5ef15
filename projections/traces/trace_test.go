package traces_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

var key = domain.Key{Namespace: "default", Service: "web", ID: "a"}

func drawCommand(t *rapid.T, i domain.Instance) domain.Command {
	status := rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning, domain.Starting, domain.Critical}).Draw(t, "status")
	check := func() domain.Check {
		return domain.Check{ID: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "check"), TTL: domain.Duration(rapid.IntRange(1, 3).Draw(t, "ttl")) * domain.Duration(time.Minute)}
	}
	switch rapid.IntRange(0, 12).Draw(t, "command") {
	case 0, 1, 2:
		d := domain.Details{
			Address: "10.0.0.1", Weight: 1, TTL: domain.Duration(time.Minute), Status: rapid.SampledFrom([]domain.Status{"", status}).Draw(t, "says"),
			Zone: rapid.SampledFrom([]string{"", "eu"}).Draw(t, "zone"), Version: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "version"),
			OnLapse: rapid.SampledFrom([]domain.LapsePolicy{"", domain.LapseCritical}).Draw(t, "on lapse"),
		}
		if rapid.Bool().Draw(t, "checked") {
			d.Checks = []domain.Check{check()}
		} else if rapid.Bool().Draw(t, "unchecked") {
			d.Checks = []domain.Check{}
		}
		return domain.RegisterInstance{Key: key, Owner: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "owner"), Details: d}
	case 3:
		return domain.SendHeartbeat{Key: key}
	case 4, 5:
		return domain.ReportHealth{Key: key, Source: domain.FromClient, Status: status}
	case 6:
		return domain.ChangeTraffic{Key: key, Traffic: rapid.SampledFrom([]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}).Draw(t, "traffic")}
	case 7:
		return domain.DeregisterInstance{Key: key, Reason: rapid.SampledFrom([]string{"", domain.ExitReason(137, 9)}).Draw(t, "reason")}
	case 8:
		return domain.ExpireLease{Key: key, LastHeard: domain.LastHeard{LastHeartbeat: time.Unix(int64(rapid.IntRange(0, 5).Draw(t, "heard")), 7)}}
	case 9:
		return domain.AddCheck{Key: key, Check: check()}
	case 10:
		return domain.RemoveCheck{Key: key, Check: check().ID}
	}
	return domain.ReportCheck{Key: key, Check: check().ID, Status: rapid.SampledFrom([]domain.Status{domain.Passing, domain.Warning, domain.Critical}).Draw(t, "reports")}
}

// Whatever is commanded, the steps of the events lead to the state to which the events lead, also when the steps were stored.
func TestStepsLeadWhereTheirEventsLead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i, state := domain.Instance{Key: key}, traces.State{}
		var steps []traces.Step
		now := time.Unix(1000, int64(rapid.SampledFrom([]int{0, 1000, 1}).Draw(t, "nanoseconds")))
		for n := range rapid.IntRange(0, 30).Draw(t, "commands") {
			events, err := domain.Decide(i, drawCommand(t, i))
			if err != nil {
				continue
			}
			for _, event := range events {
				if event.EventType() == domain.TypeHeartbeatReceived {
					continue
				}
				i = domain.Evolve(i, event, domain.Recorded{At: now})
				step := traces.OfEvent(event)
				sameWhenRead(t, event, step)
				step.At, step.Leaf = now.UnixNano(), int64(100+n*n)
				steps = append(steps, step)
				state = state.After(&step)
				if want := traces.StateOf(&i); !same(&state, &want) {
					t.Fatalf("after %+v the state is %+v, want %+v", event, state, want)
				}
				if state.Ready() != i.Ready() || state.Live() != i.Live() {
					t.Fatalf("after %+v ready is %t", event, state.Ready())
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "pause")) * time.Second)
		}
		sameWhenStored(t, steps)
	})
}

// sameWhenStored says that the steps of instances are the same when they are read from values, also those of an instance that follows others.
func sameWhenStored(t *rapid.T, steps []traces.Step) {
	const first = 50
	var writer traces.Writer
	var reader traces.Reader
	writer.Begin(first, steps)
	for range rapid.IntRange(1, 2).Draw(t, "values") {
		told, got := map[string][]traces.Step{}, map[string][]traces.Step{}
		var last string
		for _, name := range []string{"default/web/a", "default/web/a1", "default/web/b", "shop/web/b", "shop/web/\xff"} {
			var its []int32
			for i := range steps {
				if rapid.Bool().Draw(t, name) {
					its = append(its, int32(i))
					told[name] = append(told[name], steps[i])
				}
			}
			if its != nil {
				writer.Add(name, steps, its)
				last = name
			}
		}
		if (writer.Len() == 0) != (last == "") || string(writer.Last()) != last {
			t.Fatalf("the writer has %d bytes, and %q was the last, not %q", writer.Len(), writer.Last(), last)
		}
		if last == "" {
			continue
		}
		reader.Open(writer.Append(nil), first)
		for reader.Instance() {
			name := string(reader.Name())
			for step := (traces.Step{}); reader.Next(&step); {
				got[name] = append(got[name], step)
			}
			if err := reader.Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := reader.Err(); err != nil || !reflect.DeepEqual(got, told) {
			t.Fatalf("the steps read are %+v, %v; want %+v", got, err, told)
		}
	}
}

// sameWhenRead says that the step is the same when it is read from the data of the event, or from data of nearly that form.
func sameWhenRead(t *rapid.T, event domain.Event, want traces.Step) {
	data, err := domain.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, event.EventType(), data)
	e := eventstore.RecordedEvent{EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)}, RecordedAt: time.Unix(0, 0)}
	if got := traces.Of(&e); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is the step %+v, want %+v", data, got, want)
	}
	other := bytes.Clone(data)
	switch at := rapid.IntRange(0, len(other)-1).Draw(t, "at"); rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		other[at] = rapid.SampledFrom([]byte(`"{}[]:,0x\`)).Draw(t, "byte")
	case 1:
		other = append(other[:at], other[at+1:]...)
	default:
		other = append(other[:at:at], append([]byte{rapid.SampledFrom([]byte(`"{}[]:,0x\ -`)).Draw(t, "byte")}, other[at:]...)...)
	}
	compare(t, event.EventType(), other)
}

// maker has the details of the event before.
var maker traces.Maker

// compare says that the step of data is that of the event that decoding it gives.
func compare(t interface{ Fatalf(string, ...any) }, eventType string, data []byte) {
	e := eventstore.RecordedEvent{EventData: eventstore.EventData{Type: eventType, Data: data, Metadata: []byte(`{"schema":2}`)}, RecordedAt: time.Unix(0, 0)}
	var line bytes.Buffer
	got, plain := maker.Of(&e)
	if plain && (json.Compact(&line, data) != nil || !bytes.Equal(line.Bytes(), data)) {
		t.Fatalf("%s is not JSON without spaces, but plain", data)
	}
	want := traces.Step{Kind: traces.Unread}
	if event, err := domain.DecodeEvent(eventType, data); err == nil {
		want = traces.OfEvent(event)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is the step %+v %+v, want %+v %+v", data, got, got.New, want, want.New)
	}
}

func FuzzPlainDetails(f *testing.F) {
	for _, data := range []string{
		`{"epoch":1,"owner":"x","replaces":2,"reported":"passing","address":"::1","ports":{"http":80},"tags":["a","b"],"metadata":{"k":"v"},"zone":"z","version":"1","weight":1,"status":"passing","ttl":"1m0s","on_lapse":"critical","remove_after":"1m0s"}`,
		`{"epoch":1,"changed":["status","zone"],"previous_status":"passing","address":"","weight":1,"status":"critical","ttl":"none"}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compare(t, domain.TypeInstanceRegistered, data)
		compare(t, domain.TypeInstanceUpdated, data)
	})
}

// same says whether states tell the same. An instance that had checks may be thought to have them.
func same(a, b *traces.State) bool {
	if !a.Live() || !b.Live() {
		return a.Live() == b.Live()
	}
	return a.Epoch == b.Epoch && a.Owner == b.Owner && a.Zone == b.Zone && a.Version == b.Version && a.Status == b.Status && a.Says == b.Says && a.Traffic == b.Traffic && a.Lapsed == b.Lapsed && (a.Checks || !b.Checks)
}

func FuzzStoredSteps(f *testing.F) {
	steps := []traces.Step{
		{Kind: traces.Registered, New: &traces.Details{Zone: "eu"}, Status: 1, Says: 1, At: 1000}, {Kind: traces.Traffic, Traffic: 2, At: 2000, Leaf: 7},
	}
	var writer traces.Writer
	writer.Begin(0, steps)
	writer.Add("default/web/a", steps, []int32{0, 1})
	writer.Add("default/web/b", steps, []int32{0})
	f.Add(writer.Append(nil))
	f.Add([]byte("\x01a\x0c\x01\x00\x02\x92\x01\x00\x00\x00\x02eu\x00")) // as it was before ADR 160
	f.Fuzz(func(t *testing.T, stored []byte) {
		var reader traces.Reader
		reader.Open(stored, 0)
		var state traces.State
		for reader.Instance() {
			for step := (traces.Step{}); reader.Next(&step); {
				state = state.After(&step)
				_ = step.Status.Name()
				_ = step.Traffic.Name()
			}
		}
		_ = reader.Err()
	})
}
