package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/history"
)

var (
	ctx     = context.Background()
	storeID = uuid.MustParse("0198c0de-0000-7000-8000-000000000001")
	quiet   = slog.New(slog.DiscardHandler)
	began   = time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)
)

// clock moves on at every look.
type clock struct {
	at   time.Time
	step time.Duration
}

func (c *clock) now() time.Time {
	c.at = c.at.Add(c.step)
	return c.at
}

// segment is how many entries a segment has in tests, so that few events make many segments.
const segment = 24

func open(t testing.TB, dir string) *history.History {
	t.Helper()
	h, err := history.OpenSegmented(dir, storeID, quiet, segment)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// feed applies events after a position in batches of a size.
func feed(t rapid.TB, h *history.History, store eventstore.Store, after eventstore.Position, size int) {
	t.Helper()
	var batch []eventstore.RecordedEvent
	flush := func() {
		if len(batch) == 0 {
			return
		}
		if err := h.Apply(batch, batch[len(batch)-1].Position); err != nil {
			t.Fatal(err)
		}
		batch = nil
	}
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{After: after}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch = append(batch, e); len(batch) >= size {
			flush()
		}
	}
	flush()
}

// trimmed is a store whose older heartbeats are gone.
type trimmed struct {
	eventstore.Store
	before time.Time
}

func (s trimmed) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	limit := opts.Limit
	opts.Limit = 0
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		n := 0
		for e, err := range s.Store.ReadAll(ctx, opts) {
			if err == nil && e.Stream.IsHeartbeat() && e.RecordedAt.Before(s.before) {
				continue
			}
			if n++; limit > 0 && n > limit || !yield(e, err) {
				return
			}
		}
	}
}

func dump(t rapid.TB, dir string) string {
	db, err := pebble.Open(dir, &pebble.Options{ReadOnly: true, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b bytes.Buffer
	indexed := map[string][]eventstore.Position{} // whichever batches they came in
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		if key[0] == 'g' {
			entries, err := history.ReadBlock(key, it.Value())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range slices.Sorted(maps.Keys(entries)) {
				fmt.Fprintf(&b, "entry %d = %s\n", p, entries[p])
			}
			continue
		}
		if bytes.IndexByte([]byte("isnay"), key[0]) >= 0 {
			list, err := history.ReadList(key, it.Value())
			if err != nil {
				t.Fatal(err)
			}
			name := string(key[:len(key)-8])
			indexed[name] = append(indexed[name], list...)
			continue
		}
		fmt.Fprintf(&b, "%q = %q\n", it.Key(), it.Value())
	}
	for _, name := range slices.Sorted(maps.Keys(indexed)) {
		fmt.Fprintf(&b, "%q at %v\n", name, indexed[name])
	}
	return b.String()
}

type silent struct{}

func (silent) Infof(string, ...any)         {}
func (silent) Errorf(string, ...any)        {}
func (silent) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// A rebuilt history is the one that grew with the events, even when heartbeats are gone since.
func TestARebuildEqualsWhatGrew(t *testing.T) {
	root := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(root, fmt.Sprint(round))
		c := &clock{began, rapid.SampledFrom([]time.Duration{time.Minute, 17 * time.Minute, 3 * time.Hour}).Draw(t, "step")}
		store := eventstoretest.NewMemory()
		store.Now = c.now
		fleet := eventstoretest.Fleet{Store: store, Pick: func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }}
		h, err := history.OpenSegmented(dir, storeID, quiet, segment)
		if err != nil {
			t.Fatal(err)
		}
		var applied eventstore.Position
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			if err := fleet.Do(ctx, rapid.IntRange(1, 30).Draw(t, "commands")); err != nil {
				t.Fatal(err)
			}
			feed(t, h, store, applied, rapid.IntRange(1, 20).Draw(t, "batch"))
			applied, _ = store.Head(ctx)
			if rapid.Bool().Draw(t, "restart") {
				if err := h.Close(); err != nil {
					t.Fatal(err)
				}
				if h, err = history.OpenSegmented(dir, storeID, quiet, segment); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		grown := dump(t, dir)
		cut := trimmed{store, began.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "trimmed")) * c.step)}
		if err := history.RebuildSegmented(ctx, dir, cut, storeID, segment); err != nil {
			t.Fatal(err)
		}
		if rebuilt := dump(t, dir); rebuilt != grown {
			t.Fatalf("rebuilt:\n%s\ngrown:\n%s", rebuilt, grown)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	})
}

// A rebuild of many events, which come in many batches and are written in many commits, is the history that grew.
func TestARebuildOfManyEventsEqualsWhatGrew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	store := eventstoretest.NewMemory()
	store.Now = (&clock{began, 10 * time.Second}).now
	fleet := eventstoretest.Fleet{Store: store, Pick: rand.New(rand.NewPCG(7, 8)).IntN}
	if err := fleet.Do(ctx, 5000); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir)
	feed(t, h, store, 0, 500)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	grown := dump(t, dir)
	if err := history.RebuildSegmented(ctx, dir, store, storeID, segment); err != nil {
		t.Fatal(err)
	}
	if rebuilt := dump(t, dir); rebuilt != grown {
		t.Error("the rebuilt history is another")
	}
}

// A rebuild looks subjects up in one table, and finds those that the history finds that grew: of streams whose names differ only in
// what the indexes replace, of instances that came again, and of those whose heartbeats came first.
func TestARebuildOfOddStreamsEqualsWhatGrew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	store := eventstoretest.NewMemory()
	store.Now = (&clock{began, 7 * time.Minute}).now
	streams := []eventstore.StreamName{
		"instance-default/web/a", "instance-default/odd/\x00b", "instance-default/odd/\uFFFDb", "instance-default/web/c", "instance-default/x", "instance-", "registry",
		"instance-other/web/a", "webhook-\x00", "webhook-\uFFFD", "instance-default/web/never",
	}
	pick := rand.New(rand.NewPCG(1, 2)).IntN
	for n := range 600 {
		stream, kind := streams[pick(len(streams))], []string{domain.TypeInstanceRegistered, domain.TypeHealthChanged, domain.TypeInstanceDeregistered, domain.TypeLeaseExpired}[pick(4)]
		data := `{"epoch":1,"from":"passing","to":"warning","source":"client"}`
		if other, ok := stream.Other(); ok && (pick(2) == 0 || n < 20 || stream == "instance-default/web/never") {
			stream, kind, data = other, domain.TypeHeartbeatReceived, `{"epoch":1}`
		}
		event := eventstore.EventData{Type: kind, Data: []byte(data), Metadata: fmt.Appendf(nil, `{"actor":"a%d","schema":2}`, pick(3))}
		if _, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: stream, Events: []eventstore.EventData{event}}); err != nil {
			t.Fatal(err)
		}
	}
	h := open(t, dir)
	feed(t, h, store, 0, 50)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	grown := dump(t, dir)
	for _, again := range []string{"a folder that is whole", "a folder that a rebuild made"} {
		if err := history.RebuildSegmented(ctx, dir, store, storeID, segment); err != nil {
			t.Fatal(err)
		}
		if rebuilt := dump(t, dir); rebuilt != grown {
			a, b := strings.Split(rebuilt, "\n"), strings.Split(grown, "\n")
			for _, line := range a {
				if !slices.Contains(b, line) {
					t.Errorf("after a rebuild of %s there is %s", again, line)
				}
			}
			for _, line := range b {
				if !slices.Contains(a, line) {
					t.Errorf("after a rebuild of %s is missing %s", again, line)
				}
			}
		}
	}
}

// Pages, one after the other, are the log, filtered.
func TestPagesEqualTheFilteredLog(t *testing.T) {
	store := eventstoretest.NewMemory()
	store.Now = (&clock{began, time.Minute}).now
	rng := rand.New(rand.NewPCG(7, 7))
	fleet := eventstoretest.Fleet{Store: store, Pick: rng.IntN}
	if err := fleet.Do(ctx, 600); err != nil {
		t.Fatal(err)
	}
	h := open(t, t.TempDir())
	defer h.Close()
	feed(t, h, store, 0, 100)
	rapid.Check(t, func(t *rapid.T) {
		q := history.Query{Newest: rapid.Bool().Draw(t, "newest"), Limit: rapid.IntRange(1, 50).Draw(t, "limit")}
		q.Actor = rapid.SampledFrom([]string{"", "ann", "nobody"}).Draw(t, "actor")
		q.Reason = rapid.SampledFrom([]string{"", "MEMORY", "scaled"}).Draw(t, "reason")
		q.Via = rapid.SampledFrom([]string{"", "http", "cli"}).Draw(t, "via")
		q.Types = rapid.SampledFrom([][]string{nil, {domain.TypeInstanceRegistered}, {domain.TypeHealthChanged, domain.TypeLeaseExpired}}).Draw(t, "types")
		if rapid.Bool().Draw(t, "in namespace") {
			q.Namespace = "shop"
			if rapid.Bool().Draw(t, "in service") {
				q.Service = "cart"
				if rapid.Bool().Draw(t, "of instance") {
					q.ID = "i1"
				}
			}
		}
		q.After = eventstore.Position(rapid.IntRange(0, 300).Draw(t, "after"))
		if rapid.Bool().Draw(t, "bounded") {
			q.Before = eventstore.Position(rapid.IntRange(1, 500).Draw(t, "before"))
		}
		var want, got []eventstore.Position
		for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{After: q.After, Backwards: false}) {
			if err != nil {
				t.Fatal(err)
			}
			if picked(&q, &e) {
				want = append(want, e.Position)
			}
		}
		if q.Newest {
			for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
				want[i], want[j] = want[j], want[i]
			}
		}
		for {
			page, err := h.Find(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				got = append(got, e.Position)
			}
			if !page.More {
				break
			}
			if q.Newest {
				q.Before = page.Next
			} else {
				q.After = page.Next
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v gives %v, want %v", q, got, want)
		}
	})
}

// What is before an update is the same whether the page has it, which a page of all of an instance's newest entries may, or it is looked
// up for the update alone.
func TestWhatIsBeforeAnUpdateIsTheSameOnEveryPage(t *testing.T) {
	store := eventstoretest.NewMemory()
	store.Now = (&clock{began, time.Minute}).now
	fleet := eventstoretest.Fleet{Store: store, Pick: rand.New(rand.NewPCG(7, 9)).IntN}
	if err := fleet.Do(ctx, 800); err != nil {
		t.Fatal(err)
	}
	h := open(t, t.TempDir())
	defer h.Close()
	feed(t, h, store, 0, 100)
	all, err := h.Find(ctx, history.Query{Types: []string{domain.TypeInstanceUpdated}})
	if err != nil || len(all.Entries) == 0 {
		t.Fatal(all, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		key, _ := rapid.SampledFrom(all.Entries).Draw(t, "of").Stream.InstanceKey()
		q := history.Query{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Newest: true, Limit: rapid.IntRange(1, 30).Draw(t, "limit")}
		q.After = eventstore.Position(rapid.IntRange(0, 400).Draw(t, "after"))
		if rapid.Bool().Draw(t, "bounded") {
			q.Before = eventstore.Position(rapid.IntRange(1, 800).Draw(t, "before"))
		}
		got, err := h.Find(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		q.Visible = func(eventstore.StreamName) bool { return true }
		want, err := h.Find(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v gives\n%+v\nand, looked up one by one,\n%+v", q, got, want)
		}
	})
}

// picked is the plain meaning of a query.
func picked(q *history.Query, e *eventstore.RecordedEvent) bool {
	key, _ := e.Stream.InstanceKey()
	var m domain.Metadata
	_ = json.Unmarshal(e.Metadata, &m)
	oneOf := len(q.Types) == 0
	for _, t := range q.Types {
		oneOf = oneOf || t == e.Type
	}
	reason := q.Reason == "" || q.Reason == "MEMORY" && bytes.Contains(e.Data, []byte("out of memory")) || q.Reason == "scaled" && bytes.Contains(e.Data, []byte("scaled down"))
	return !e.Stream.IsHeartbeat() && oneOf && reason && (q.Before == 0 || e.Position < q.Before) && (q.Actor == "" || q.Actor == m.Actor) && (q.Via == "" || q.Via == m.Via) &&
		(q.Namespace == "" || q.Namespace == key.Namespace) && (q.Service == "" || q.Service == key.Service) && (q.ID == "" || q.ID == key.ID)
}

// Whatever is changed in an event, verification finds it and names it, as long as the checkpoint
// was kept; when the tree was changed with it, it still finds it.
func TestVerificationFindsEveryChange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "events")
		events := make([]eventstore.RecordedEvent, n)
		leaves := make([]tlog.Hash, n)
		for i := range events {
			events[i] = eventstore.RecordedEvent{
				EventData: eventstore.EventData{ID: uuid.UUID{byte(i)}, Type: domain.TypeInstanceDeregistered, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"ann"}`)},
				Stream:    "instance-default/web/a", Revision: eventstore.Revision(i), Position: eventstore.Position(2 * i), RecordedAt: began,
			}
			leaves[i] = history.HashEvent(&events[i])
		}
		size := int64(rapid.IntRange(0, n).Draw(rt, "checkpoint"))
		verify := func(events []eventstore.RecordedEvent, leaves []tlog.Hash, c *history.Checkpoint) history.Verdict {
			v, err := history.Verify(seq(events), history.Evidence{Leaves: seq(leaves), Checkpoint: c}, nil)
			if err != nil {
				rt.Fatal(err)
			}
			return v
		}
		good := &history.Checkpoint{Size: size, Root: verify(events[:size], leaves[:size], nil).Root}
		if v := verify(events, leaves, good); v.Fault != "" || v.Events != int64(n) {
			rt.Fatalf("an untouched log: %+v", v)
		}
		if v := verify(events[:n-1], leaves, nil); v.Fault == "" {
			rt.Fatal("a missing event was not found")
		}
		i := rapid.IntRange(0, n-1).Draw(rt, "changed")
		e := &events[i]
		switch rapid.IntRange(0, 5).Draw(rt, "what") {
		case 0:
			e.Type = domain.TypeLeaseExpired
		case 1:
			e.Data = []byte(`{"epoch":2}`)
		case 2:
			e.Metadata = []byte(`{"actor":"bob"}`)
		case 3:
			e.RecordedAt = e.RecordedAt.Add(1)
		case 4:
			e.Stream += "b"
		case 5:
			e.ID[15]++
		}
		if v := verify(events, leaves, good); v.Fault == "" || v.First == nil || v.First.Position != e.Position {
			rt.Fatalf("event %d was changed: %+v", i, v)
		}
		leaves[i] = history.HashEvent(e)
		if v := verify(events, leaves, good); (v.Fault != "") != (int64(i) < size) {
			rt.Fatalf("event %d of %d was changed with its leaf, the checkpoint is at %d: %+v", i, n, size, v)
		}
	})
}

func seq[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range all {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func TestAHistoryOfAnotherStoreIsThrownAway(t *testing.T) {
	store := eventstoretest.NewMemory()
	fleet := eventstoretest.Fleet{Store: store, Pick: rand.New(rand.NewPCG(1, 1)).IntN}
	if err := fleet.Do(ctx, 20); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := open(t, dir)
	feed(t, h, store, 0, 10)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := history.OpenSegmented(dir, uuid.New(), quiet, segment)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.Leaves() != 0 || other.Position() != 0 {
		t.Errorf("it kept %d leaves of the other store", other.Leaves())
	}
}

func TestHeartbeatsAreSummedUpByTheHour(t *testing.T) {
	store := eventstoretest.NewMemory()
	c := &clock{began.Add(30 * time.Minute), 0}
	store.Now = c.now
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	beat := func(after time.Duration) {
		c.at = c.at.Add(after)
		if _, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(key), Events: []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`)}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, after := range []time.Duration{0, 10 * time.Minute, 15 * time.Minute, 10 * time.Minute, time.Minute} {
		beat(after)
	}
	h := open(t, t.TempDir())
	defer h.Close()
	feed(t, h, store, 0, 2)
	got, err := h.Heartbeats(ctx, key, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	want := []history.Heartbeats{
		{Hour: began, Received: 3, LongestGap: 15 * time.Minute, Last: began.Add(55 * time.Minute)},
		{Hour: began.Add(time.Hour), Received: 2, LongestGap: 10 * time.Minute, Last: began.Add(66 * time.Minute)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// An event that lacks its secrets counts with the hash of its leaf, if the verifier may not see them. An event that was changed
// otherwise does not, and neither does one in the verifier's own folder.
func TestVerificationTakesConcealedEventsByTheirHash(t *testing.T) {
	event := func(n int, data string) eventstore.RecordedEvent {
		return eventstore.RecordedEvent{
			EventData: eventstore.EventData{ID: uuid.UUID{byte(n)}, Type: domain.TypeCheckAdded, Data: []byte(data), Metadata: []byte(`{"schema":2}`)},
			Stream:    "instance-default/web/a", Revision: eventstore.Revision(n), Position: eventstore.Position(n), RecordedAt: began,
		}
	}
	check := func(header string) string {
		return `{"epoch":1,"check":{"id":"a","kind":"http","url":"http://10.0.0.1/","headers":{"Key":"` + header + `"}},"status":"passing"}`
	}
	whole := []eventstore.RecordedEvent{event(0, check("one")), event(1, check("two"))}
	var leaves []tlog.Hash
	for i := range whole {
		leaves = append(leaves, history.HashEvent(&whole[i]))
	}
	verify := func(concealed bool, events ...eventstore.RecordedEvent) history.Verdict {
		v, err := history.Verify(seq(events), history.Evidence{Leaves: seq(leaves), Concealed: concealed}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	root := verify(false, whole...).Root
	if v := verify(true, whole[0], event(1, check("…"))); v.Fault != "" || v.Hidden != 1 || v.Root != root {
		t.Errorf("a concealed event: %+v", v)
	}
	if v := verify(true, whole...); v.Fault != "" || v.Hidden != 0 {
		t.Errorf("events with their secrets: %+v", v)
	}
	if v := verify(true, whole[0], event(1, check("three"))); v.Fault == "" || v.First == nil {
		t.Errorf("a changed event: %+v", v)
	}
	if v := verify(false, whole[0], event(1, check("…"))); v.Fault == "" || v.First == nil {
		t.Errorf("an event that was changed in the folder: %+v", v)
	}
}
