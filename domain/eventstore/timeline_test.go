package eventstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func TestAPositionIsResolvedByItsTimeline(t *testing.T) {
	once := eventstore.Timelines{}.Fork("aa", 100)
	twice := once.Fork("bb", 250)
	older := once.Fork("cc", 60) // a log that was cut before its first fork
	for _, c := range []struct {
		name      string
		timelines eventstore.Timelines
		timeline  string
		position  eventstore.Position
		want      eventstore.Position
		relation  eventstore.Relation
	}{
		{"a store's first", eventstore.Timelines{}, "", 7, 7, eventstore.Own},
		{"a name that the first store never had", eventstore.Timelines{}, "aa", 7, 0, eventstore.Foreign},
		{"own", once, "aa", 900, 900, eventstore.Own},
		{"own before its own fork", once, "aa", 50, 50, eventstore.Own},
		{"at the fork", once, "", 100, 100, eventstore.Ancestor},
		{"of the lost future", once, "", 101, 100, eventstore.Lost},
		{"the beginning of a timeline that it never was on", once, "zz", 0, 0, eventstore.Foreign},
		{"another restore of the same backup", once, "ab", 120, 0, eventstore.Foreign},
		{"grandparent's shared past", twice, "", 99, 99, eventstore.Ancestor},
		{"grandparent's lost future", twice, "", 200, 100, eventstore.Lost},
		{"parent's shared past", twice, "aa", 250, 250, eventstore.Ancestor},
		{"parent's lost future", twice, "aa", 251, 250, eventstore.Lost},
		{"a fork before an earlier one", older, "", 80, 60, eventstore.Lost},
	} {
		if got, relation := c.timelines.Resolve(c.timeline, c.position); got != c.want || relation != c.relation {
			t.Errorf("%s: %d, %d, want %d, %d", c.name, got, relation, c.want, c.relation)
		}
	}
	var other eventstore.OtherTimeline
	if _, err := twice.Own("aa", 251); !errors.As(err, &other) || other != (eventstore.OtherTimeline{Timeline: "aa", Position: 251, Fork: 250, Relation: eventstore.Lost}) {
		t.Errorf("gave %v", err)
	}
}

// A line of JSON names the timeline on which the event was recorded; the canonical form, of which the tamper-evident
// log consists, does not know where the event stands.
func TestALineNamesTheEventsTimeline(t *testing.T) {
	e := eventstore.RecordedEvent{
		EventData: eventstore.EventData{ID: uuid.UUID{1}, Type: "T", Data: []byte(`{}`), Metadata: []byte(`{}`)}, Stream: "s", Position: 12, RecordedAt: time.Unix(1, 0).UTC(),
	}
	canonical := string(eventstore.AppendCanonical(nil, &e))
	for timeline, begin := range map[string]string{"": `{"position":"12",`, "0a1b2c3d4e": `{"position":"12-0a1b2c3d4e",`} {
		e.Timeline = timeline
		line := eventstore.AppendJSON(nil, &e)
		if got := string(line); got != begin+canonical[1:] {
			t.Errorf("the line is %s", got)
		}
		if got, err := eventstore.ParseJSON(line); err != nil || got.Timeline != timeline || got.Position != 12 {
			t.Errorf("%s is read as %+v, %v", line, got, err)
		}
		if got := string(eventstore.AppendCanonical(nil, &e)); got != canonical {
			t.Errorf("the canonical form is %s", got)
		}
	}
	for _, position := range []string{`7`, `"-1"`, `"7-"`, `"7-A"`, `"7-12345678901234567"`, `""`, `"18446744073709551616"`} {
		if e, err := eventstore.ParseJSON([]byte(`{"position":` + position + "," + canonical[1:])); err == nil {
			t.Errorf("the position %s is read as %+v", position, e)
		}
	}
}

// Stores that are forked at random agree on a position exactly if they share the event that stands there.
func TestAPositionGoesOnWhereItsEventIsShared(t *testing.T) {
	type store struct {
		timelines eventstore.Timelines
		events    []int // what stands at the position that is one more than the index
	}
	rapid.Check(t, func(t *rapid.T) {
		next, stores := 0, []store{{}}
		grow := func(s *store) {
			for range rapid.IntRange(1, 5).Draw(t, "events") {
				next++
				s.events = append(s.events, next)
			}
		}
		grow(&stores[0])
		for range rapid.IntRange(1, 5).Draw(t, "restores") {
			from := stores[rapid.IntRange(0, len(stores)-1).Draw(t, "of")]
			begun := eventstore.Position(0)
			if n := len(from.timelines.Forks); n > 0 {
				begun = from.timelines.Forks[n-1].After + 1 // a backup has the event that began its timeline
			}
			at := rapid.IntRange(int(begun), len(from.events)).Draw(t, "at")
			restored := store{from.timelines.Fork(string(rune('a'+len(stores))), eventstore.Position(at)), append([]int{}, from.events[:at]...)}
			grow(&restored)
			stores = append(stores, restored)
		}
		names := make(map[int]string) // of events' timelines
		for _, s := range stores {
			for i, event := range s.events {
				name := s.timelines.Of(eventstore.Position(i + 1))
				if other, known := names[event]; known && other != name {
					t.Fatalf("event %d is of timeline %q and of %q", event, name, other)
				}
				names[event] = name
			}
		}
		for _, bearer := range stores {
			for _, s := range stores {
				for p := 1; p <= len(bearer.events); p++ {
					_, relation := s.timelines.Resolve(bearer.timelines.Name, eventstore.Position(p))
					shared := p <= len(s.events) && s.events[p-1] == bearer.events[p-1]
					if relation.GoesOn() && p <= len(s.events) && !shared {
						t.Fatalf("position %d of %+v goes on in %+v", p, bearer, s)
					}
					ancestor := relation == eventstore.Lost
					if ancestor && shared {
						t.Fatalf("position %d of %+v is called lost in %+v", p, bearer, s)
					}
				}
			}
		}
	})
}
