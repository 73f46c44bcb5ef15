package queries_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/queries"
)

// timedStore can say where a time is, as the embedded store can.
type timedStore struct{ *eventstoretest.Memory }

func (s timedStore) PositionAt(ctx context.Context, at time.Time) (p eventstore.Position, err error) {
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil || e.RecordedAt.After(at) {
			return p, err
		}
		p = e.Position
	}
	return p, nil
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// happen appends lifecycle events and, far more often, heartbeats, with times between them that a clock
// could give: many events at one time, and pauses.
func happen(r *rig, rng *rand.Rand, n int) (all []eventstore.RecordedEvent) {
	r.t.Helper()
	now := epoch
	r.store.Now = func() time.Time { return now }
	r.Now = func() time.Time { return now.Add(time.Minute) }
	for i := range n {
		now = now.Add([]time.Duration{0, 0, 1, time.Millisecond, time.Second, 7 * time.Second}[rng.IntN(6)])
		k := key([]string{"web", "cart"}[rng.IntN(2)], fmt.Sprint("i", rng.IntN(12))) // i1, i10 and i11 begin alike
		if i == 0 || rng.IntN(5) == 0 {
			r.append(eventstore.LifecycleStream(k), domain.InstanceRegistered{Epoch: 1, Details: details("")})
		} else {
			r.append(eventstore.HeartbeatStream(k), domain.HeartbeatReceived{Epoch: 1})
		}
	}
	for e, err := range r.store.ReadAll(context.Background(), eventstore.ReadAllOptions{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// Whatever span and selection are asked for, the events are those that a look at every event finds, and a
// follower is told the same.
func TestSpansAreExactOverHeartbeats(t *testing.T) {
	for round := range uint64(6) {
		rng := rand.New(rand.NewPCG(round, 15))
		r := start(t)
		settle := r.withHistory()
		all := happen(r, rng, 120)
		settle()
		if round%2 == 0 {
			r.Store = timedStore{r.store}
		}
		bound := func() (text string, holds func(e *eventstore.RecordedEvent) int) { // -1: e is before it, 0: at it, 1: after it
			e := &all[rng.IntN(len(all))]
			switch rng.IntN(4) {
			case 0:
				return "", nil
			case 1:
				return fmt.Sprint(e.Position), func(x *eventstore.RecordedEvent) int { return int(x.Position) - int(e.Position) }
			default:
				at := e.RecordedAt.Add(time.Duration(rng.IntN(3) - 1))
				return at.Format(time.RFC3339Nano), func(x *eventstore.RecordedEvent) int { return x.RecordedAt.Compare(at) }
			}
		}
		for range 150 {
			s := queries.Selection{Heartbeats: rng.IntN(3) > 0}
			if rng.IntN(3) == 0 {
				s.Service = "web"
				s.Instance = []string{"", "i1"}[rng.IntN(2)]
			}
			if rng.IntN(4) == 0 {
				s.Types = []string{domain.TypeHeartbeatReceived}
			}
			from, after := bound()
			to, before := bound()
			span, err := r.Span(t.Context(), from, to)
			if errors.As(err, new(domain.InvalidField)) && from != "" && to != "" {
				for i := range all { // the wrong way round: it must not be refused where it takes in an event
					if e := &all[i]; after(e) >= 0 && before(e) <= 0 {
						t.Fatalf("from %q to %q was refused with %v, and takes in %d", from, to, err, e.Position)
					}
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			filter, err := s.Filter()
			if err != nil {
				t.Fatal(err)
			}
			var want []eventstore.Position
			for i := range all {
				if e := &all[i]; filter.Match(e.Stream, e.Type) && (after == nil || after(e) >= 0) && (before == nil || before(e) <= 0) {
					want = append(want, e.Position)
				}
			}
			var got []eventstore.Position
			for e, err := range r.Events(t.Context(), s, span) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Position)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%+v from %q to %q gives %v, want %v", s, from, to, got, want)
			}
			if to == "" && len(want) > 0 {
				followed(t, r, s, span, want)
			}
		}
	}
}

// followed holds that a follower of the span is told of these events first.
func followed(t *testing.T, r *rig, s queries.Selection, span queries.Span, want []eventstore.Position) {
	t.Helper()
	f, err := r.FollowEvents(t.Context(), s, span)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []eventstore.Position
	for len(got) < len(want) {
		u, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range u.(queries.Events) {
			got = append(got, e.Position)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("a follower of %+v is told of %v, want %v", s, got, want)
	}
}

// What begins at a moment begins with the first event, heartbeats too, that is not before it.
func TestBeforeAMomentIsExactOverHeartbeats(t *testing.T) {
	for _, timed := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(3, 15))
		r := start(t)
		settle := r.withHistory()
		all := happen(r, rng, 100)
		settle()
		if timed {
			r.Store = timedStore{r.store}
		}
		for i := range all {
			want := eventstore.Position(0)
			for j := range all {
				if all[j].RecordedAt.Before(all[i].RecordedAt) {
					want = all[j].Position
				}
			}
			if got, err := r.Before(t.Context(), "from", all[i].RecordedAt.Format(time.RFC3339Nano)); got != want || err != nil {
				t.Fatalf("before %s is position %d, %v; want %d", all[i].RecordedAt, got, err, want)
			}
			if got, err := r.Before(t.Context(), "from", fmt.Sprint(all[i].Position)); got != all[i].Position-1 || err != nil {
				t.Fatalf("before position %d is %d, %v", all[i].Position, got, err)
			}
		}
		if got, err := r.Before(t.Context(), "from", ""); got != 100 || err != nil {
			t.Errorf("from now on is after %d, %v", got, err)
		}
	}
}

func TestMomentsAreRead(t *testing.T) {
	r := start(t)
	settle := r.withHistory()
	now := epoch
	r.store.Now = func() time.Time { return now }
	for i := range 5 { // at 0, 10, 20, 30 and 40 s
		now = epoch.Add(time.Duration(i) * 10 * time.Second)
		r.append(eventstore.LifecycleStream(key("web", fmt.Sprint(i))), domain.InstanceRegistered{Epoch: 1, Details: details("")})
	}
	settle()
	r.Now = func() time.Time { return epoch.Add(45 * time.Second) }
	for text, want := range map[string]queries.Moment{
		"3":                              {Position: 3},
		"0":                              {Early: true},
		"now":                            {Position: 5, Time: epoch.Add(45 * time.Second)},
		"20s ago":                        {Position: 3, Time: epoch.Add(25 * time.Second)},
		"0m 20s ago":                     {Position: 3, Time: epoch.Add(25 * time.Second)},
		"2026-01-02T03:04:15Z":           {Position: 2, Time: epoch.Add(10 * time.Second)},
		"2026-01-02T03:04:14.999999999Z": {Position: 1, Time: epoch.Add(10*time.Second - 1)},
		"2026-01-02T04:04:15 01:00":      {Position: 2, Time: epoch.Add(10 * time.Second)}, // a + that was not escaped
		"2026-01-02T03:04:04Z":           {Early: true, Time: epoch.Add(-time.Second)},
		"1h ago":                         {Early: true, Time: epoch.Add(45*time.Second - time.Hour)},
		"0001-01-01T00:00:00Z":           {Early: true, Time: time.Time{}.Add(1)},
		"1650-01-01T00:00:00Z":           {Early: true, Time: time.Date(1650, 1, 1, 0, 0, 0, 0, time.UTC)}, // more than 2⁶³ ns before 1970
	} {
		if got, err := r.Moment(t.Context(), "at", text); err != nil || got.Position != want.Position || got.Early != want.Early || !got.Time.Equal(want.Time) {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, rule := range map[string]string{
		"6": "the newest is 5", "-1": "RFC 3339", "yesterday": "RFC 3339", "-5m ago": "RFC 3339", "5 ago": "RFC 3339", "": "RFC 3339",
		"2026-01-02T03:05:00Z": "future",
	} {
		var invalid domain.InvalidField
		if m, err := r.Moment(t.Context(), "at", text); !errors.As(err, &invalid) || invalid.Field != "at" || !strings.Contains(invalid.Rule, rule) {
			t.Errorf("%q is %+v, %v; want a refusal that says %q", text, m, err, rule)
		}
	}
	var other eventstore.OtherTimeline
	if m, err := r.Moment(t.Context(), "at", "3-1f"); !errors.As(err, &other) || other.Timeline != "1f" {
		t.Errorf("a moment of another timeline is %+v, %v", m, err)
	}
}

// A history that could only be empty is refused.
func TestHistoriesOfWhatIsNotInThemAreRefused(t *testing.T) {
	r := start(t)
	r.withHistory()()
	for _, q := range []queries.HistoryQuery{
		{Selection: queries.Selection{Types: []string{domain.TypeHeartbeatReceived}}},
		{Selection: queries.Selection{Types: []string{domain.TypeLeaseExpired, domain.TypeHeartbeatReceived}}},
		{Selection: queries.Selection{Service: "web", Types: []string{domain.TypeWebhookCreated}}},
		{Selection: queries.Selection{Types: []string{domain.TypeInstanceRegistered}}, Webhook: "1"},
	} {
		var invalid domain.InvalidField
		if page, err := r.HistoryPage(t.Context(), q); !errors.As(err, &invalid) || invalid.Field != "type" {
			t.Errorf("%+v: %+v, %v", q, page, err)
		}
	}
}
