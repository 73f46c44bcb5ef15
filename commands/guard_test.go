package commands_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/policies"
)

// startGuarded runs nodes over one store, each with its own view of policies. stop ends them.
func startGuarded(t *testing.T, store eventstore.Store, nodes int, spec domain.PolicySpec) (all []*node, stop func()) {
	t.Helper()
	table, err := policies.Open(ctx, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	event, _, err := table.Decide(domain.SetPolicy{Name: "keep", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	data, err := domain.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Append(ctx, nil, eventstore.AppendRequest{
		Stream: eventstore.PolicyStream, Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: []byte(`{"actor":"ann","schema":2}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range nodes {
		n := start(t, store, true)
		table, err := policies.Open(ctx, store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		n.service.Guard = &commands.Guard{Policies: table, Now: time.Now}
		all = append(all, n)
	}
	return all, func() {
		for _, n := range all {
			n.stop()
		}
	}
}

// ready is how many instances a node's catalog has ready, once it has applied everything.
func (n *node) ready(t *testing.T) int {
	t.Helper()
	head, err := n.store.Head(ctx)
	if err == nil {
		err = n.projections.WaitFor(ctx, head)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n.projections.Catalog().View(key("").ServiceKey()).ReadyCount()
}

// Many operators at several nodes remove instances at once. As many succeed as the policy lets, and no more.
func TestOperatorsAtOnceDoNotPassAPolicyTogether(t *testing.T) {
	for round := range 10 {
		nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 3, domain.PolicySpec{MinReady: "3"})
		const instances = 8
		for i := range instances {
			nodes[0].do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(time.Minute)})
		}
		var done, guarded atomic.Int32
		var group sync.WaitGroup
		for i := range instances {
			group.Go(func() {
				var command domain.Command = domain.DeregisterInstance{Key: key(fmt.Sprint(i))}
				if i%2 == 0 {
					command = domain.ChangeTraffic{Key: key(fmt.Sprint(i)), Traffic: domain.Draining}
				}
				for {
					r := nodes[i%len(nodes)].service.Do(ctx, caller, commands.Request{Command: command})
					switch {
					case r.Err == nil:
						done.Add(1)
					case errors.As(r.Err, new(domain.Guarded)):
						guarded.Add(1)
					case errors.Is(r.Err, commands.ErrContended):
						continue
					default:
						t.Error(r.Err)
					}
					return
				}
			})
		}
		group.Wait()
		if left := nodes[1].ready(t); done.Load() != instances-3 || guarded.Load() != 3 || left != 3 {
			t.Errorf("round %d: %d removed, %d refused, %d left ready", round, done.Load(), guarded.Load(), left)
		}
		stop()
	}
}

func TestWhatAnInstanceDoesItselfIsNeverRefused(t *testing.T) {
	nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 1, domain.PolicySpec{MinReady: "100%"})
	defer stop()
	n := nodes[0]
	n.do(t, domain.RegisterInstance{Key: key("named"), Owner: "pod-7", Details: details(time.Minute)})
	n.do(t, domain.RegisterInstance{Key: key("held"), Owner: "checkout:pod-8", Details: details(time.Minute)})
	for _, c := range []domain.Command{
		domain.DeregisterInstance{Key: key("named")}, domain.ChangeTraffic{Key: key("held"), Traffic: domain.Maintenance},
	} {
		if r := n.service.Do(ctx, caller, commands.Request{Command: c}); !errors.As(r.Err, new(domain.Guarded)) {
			t.Errorf("another's %T gave %v", c, r.Err)
		}
	}
	n.do(t, domain.DeregisterInstance{Key: key("named"), Owner: "pod-7"})
	own := commands.Caller{Actor: "checkout", Via: "http"}
	if r := n.service.Do(ctx, own, commands.Request{Command: domain.ChangeTraffic{Key: key("held"), Traffic: domain.Draining}}); r.Err != nil {
		t.Errorf("its token's drain gave %v", r.Err)
	}
	if types := n.types(t, eventstore.GuardStream("default")); len(types) != 0 {
		t.Errorf("its own commands are judged: %v", types)
	}
}

func TestAPolicyIsForcedWithAReasonAndTheLogSaysSo(t *testing.T) {
	nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 1, domain.PolicySpec{MinReady: "1"})
	defer stop()
	n := nodes[0]
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
	r := n.service.Do(ctx, caller, commands.Request{Command: domain.DeregisterInstance{Key: key("a"), Force: true}})
	if field := (domain.InvalidField{}); !errors.As(r.Err, &field) || field.Field != "reason" {
		t.Errorf("without a reason: %v", r.Err)
	}
	n.do(t, domain.DeregisterInstance{Key: key("a"), Force: true, Reason: "end of life"})
	for e, err := range n.store.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{From: 1}) {
		if err != nil || e.Type != domain.TypeInstanceDeregistered || string(e.Metadata) != `{"actor":"ann","source":"10.1.1.1","via":"http","request_id":"r-1","forced":"keep","schema":2}` {
			t.Errorf("%s %s, %v", e.Type, e.Metadata, err)
		}
	}
	for e, err := range n.store.ReadStream(ctx, eventstore.GuardStream("default"), eventstore.ReadOptions{}) {
		event, wrong := eventstore.Decode(&e)
		if admitted, ok := event.(domain.RemovalAdmitted); err != nil || wrong != nil || !ok || !admitted.Forced || admitted.Ready != 1 || admitted.Left != 0 || admitted.Reason != "end of life" {
			t.Errorf("the guard stream has %+v, %v", event, errors.Join(err, wrong))
		}
	}
}

func TestAnActorIsStoppedAtItsLimitOfRemovalsAndTheLogSaysSoOnce(t *testing.T) {
	nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 1, domain.PolicySpec{MaxRemovals: &domain.Removals{Count: 2, Within: domain.Duration(time.Hour)}})
	defer stop()
	n := nodes[0]
	var batch []commands.Request
	for i := range 5 {
		n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(time.Minute)})
		batch = append(batch, commands.Request{Command: domain.DeregisterInstance{Key: key(fmt.Sprint(i))}})
	}
	for i, r := range n.service.DoAll(ctx, caller, batch) {
		guarded := domain.Guarded{}
		if stopped := errors.As(r.Err, &guarded); stopped != (i >= 2) || stopped && (guarded.Removed != 2 || guarded.Policy.By != "ann") {
			t.Errorf("removal %d gave %v", i, r.Err)
		}
	}
	if r := n.service.Do(ctx, commands.Caller{Actor: "bob"}, batch[2]); r.Err != nil {
		t.Errorf("another actor is stopped, too: %v", r.Err)
	}
	n.service.Do(ctx, caller, batch[3])
	want := []string{domain.TypeRemovalAdmitted, domain.TypeRemovalAdmitted, domain.TypeRemovalsStopped, domain.TypeRemovalAdmitted}
	if types := n.types(t, eventstore.GuardStream("default")); fmt.Sprint(types) != fmt.Sprint(want) {
		t.Errorf("the guard stream has %v, not %v", types, want)
	}
}

// A limit of seconds is reached anew while the admissions of half a minute are looked at.
func TestTheLogSaysForEachSpanThatAnActorIsStopped(t *testing.T) {
	store := eventstoretest.NewMemory()
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	store.Now = now
	nodes, stop := startGuarded(t, store, 1, domain.PolicySpec{MaxRemovals: &domain.Removals{Count: 1, Within: domain.Duration(5 * time.Second)}})
	defer stop()
	n := nodes[0]
	n.service.Guard.Now = now
	for i := range 4 {
		n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(time.Minute)})
	}
	var want []string
	for i := range 2 {
		n.do(t, domain.DeregisterInstance{Key: key(fmt.Sprint(i))})
		for range 2 {
			if r := n.service.Do(ctx, caller, commands.Request{Command: domain.DeregisterInstance{Key: key("3")}}); !errors.As(r.Err, new(domain.Guarded)) {
				t.Errorf("a second removal within the span gave %v", r.Err)
			}
		}
		want = append(want, domain.TypeRemovalAdmitted, domain.TypeRemovalsStopped)
		later.Add(int64(6 * time.Second))
	}
	if types := n.types(t, eventstore.GuardStream("default")); fmt.Sprint(types) != fmt.Sprint(want) {
		t.Errorf("the guard stream has %v, not %v", types, want)
	}
}

// guardReads counts the events that are read of guard streams.
type guardReads struct {
	*eventstoretest.Memory
	events *int
}

func (g guardReads) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		for e, err := range g.Memory.ReadStream(ctx, stream, opts) {
			if stream == eventstore.GuardStream("default") {
				*g.events++
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Each removal of many reads what came after the one before, and not all admissions of the policy's span.
func TestTheRemovalsOfARequestReadTheAdmissionsOnce(t *testing.T) {
	read := 0
	nodes, stop := startGuarded(t, guardReads{eventstoretest.NewMemory(), &read}, 1, domain.PolicySpec{MaxRemovals: &domain.Removals{Count: 90, Within: domain.Duration(time.Hour)}})
	defer stop()
	n := nodes[0]
	var batch []commands.Request
	var reversals []commands.Reversal
	for i := range 100 {
		k := key(fmt.Sprint(i))
		n.do(t, domain.RegisterInstance{Key: k, Details: details(time.Minute)})
		if i < 50 {
			batch = append(batch, commands.Request{Command: domain.DeregisterInstance{Key: k}})
			continue
		}
		reversals = append(reversals, commands.Reversal{Key: k, Events: 1, Steps: []commands.ReversalStep{{Command: domain.DeregisterInstance{Key: k}}}})
	}
	done := 0
	count := func(results []commands.Result) {
		for _, r := range results {
			if r.Err == nil {
				done++
			}
		}
	}
	count(n.service.DoAll(ctx, caller, batch))
	reverted, err := n.service.Revert(ctx, caller, reversals, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if count(reverted); done != 90 {
		t.Errorf("%d removals are done, want 90", done)
	}
	if read > 400 {
		t.Errorf("%d events of the guard stream were read for 100 removals", read)
	}
}

// What policies admit and is not done then, because another part of the revert is refused, or because the instance changed, counts
// for nothing.
func TestARemovalThatIsNotDoneDoesNotCountTowardsTheLimit(t *testing.T) {
	nodes, stop := startGuarded(t, eventstoretest.NewMemory(), 1, domain.PolicySpec{MaxRemovals: &domain.Removals{Count: 2, Within: domain.Duration(time.Hour)}})
	defer stop()
	n := nodes[0]
	var all []commands.Reversal
	for i := range 3 {
		n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(time.Minute)})
		all = append(all, commands.Reversal{Key: key(fmt.Sprint(i)), Events: 1, Steps: []commands.ReversalStep{{Command: domain.DeregisterInstance{Key: key(fmt.Sprint(i))}}}})
	}
	refused := func(reversals []commands.Reversal, together bool, done int) {
		t.Helper()
		results, err := n.service.Revert(ctx, caller, reversals, "mistake", together)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if (r.Err == nil) != (i < done) {
				t.Errorf("reversal %d gives %v", i, r.Err)
			}
		}
	}
	refused(all, true, 0) // the third is one too many
	changed := []commands.Reversal{all[0], all[1], all[2]}
	changed[2].Events = 7
	refused(changed, true, 0) // the third changed since
	twice := all[0]
	twice.Steps = append(twice.Steps[:1:1], commands.ReversalStep{Command: domain.ChangeTraffic{Key: key("0"), Traffic: domain.Draining}})
	refused([]commands.Reversal{twice}, false, 0) // its second command finds no instance
	refused(all, false, 2)
	counts := map[string]int{}
	for _, kind := range n.types(t, eventstore.GuardStream("default")) {
		counts[kind]++
	}
	if want := map[string]int{domain.TypeRemovalAdmitted: 7, domain.TypeRemovalWithdrawn: 5, domain.TypeRemovalsStopped: 1}; fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("the guard stream has %v, want %v", counts, want)
	}
}
