package commands_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// log is what the events of a store say.
func log(t interface{ Fatal(...any) }, store eventstore.Store) (all []string) {
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%d %s %d %s %s %s", e.Position, e.Stream, e.Revision, e.Type, e.Data, e.Metadata))
	}
	return all
}

// anyRegistration draws a registration of one of few instances, which may be live, refused, or the same as another of its batch.
func anyRegistration(t *rapid.T) domain.RegisterInstance {
	r := domain.RegisterInstance{Key: key(fmt.Sprint("i", rapid.IntRange(0, 30).Draw(t, "id"))), Details: details(time.Hour)}
	switch rapid.IntRange(0, 12).Draw(t, "kind") {
	case 0:
		r.Key.ID = "a/b"
	case 1:
		r.Key.Namespace = domain.RegistryNamespace
	case 2:
		r.Details.Address = ""
	case 3:
		r.Owner = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
	case 4:
		r.CreateOnly = true
	case 5:
		r.Epoch = rapid.Uint64Range(1, 2).Draw(t, "epoch")
	case 6:
		r.Details.Checks = []domain.Check{ttlCheck("c", time.Minute)}
	case 7:
		r.Details.Zone = "<eu>"
	}
	return r
}

func TestRegistrationsAreCarriedOutAsAnyCommands(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		one, other := start(t, eventstoretest.NewMemory(), true), start(t, eventstoretest.NewMemory(), true)
		defer one.stop()
		defer other.stop()
		for range rapid.IntRange(1, 4).Draw(r, "batches") {
			batch := rapid.SliceOfN(rapid.Custom(anyRegistration), 1, 20).Draw(r, "batch")
			requests := make([]commands.Request, len(batch))
			for i := range batch {
				requests[i].Command = batch[i]
			}
			var got []commands.Result
			if len(batch) == 1 {
				result, _ := one.service.Register(ctx, caller, batch[0])
				got = []commands.Result{result}
			} else {
				got, _ = one.service.RegisterAll(ctx, nil, caller, batch)
			}
			for i, want := range other.service.DoAll(ctx, caller, requests) {
				if !reflect.DeepEqual(got[i], want) {
					r.Fatalf("%+v came to %+v, want %+v", batch[i], got[i], want)
				}
				if entry := one.projections.Catalog().Find(batch[i].Key); want.Created && (entry == nil || entry.Position != want.Position) {
					r.Fatalf("%+v came to %+v, and the catalog has %+v", batch[i], want, entry)
				}
			}
		}
		if got, want := log(r, one.store), log(r, other.store); !reflect.DeepEqual(got, want) {
			r.Errorf("the log has %q, want %q", got, want)
		}
	})
}

// Registrations of many callers come to what each would come to by itself, but for those whose instance one before them names.
func TestRegistrationsOfManyCallersAreCarriedOutAsAnyCommands(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		one, other := start(t, eventstoretest.NewMemory(), true), start(t, eventstoretest.NewMemory(), true)
		defer one.stop()
		defer other.stop()
		callers := 0
		for range rapid.IntRange(1, 4).Draw(r, "rounds") {
			var many []commands.CallersRegistration
			for _, registration := range rapid.SliceOfN(rapid.Custom(anyRegistration), 1, 20).Draw(r, "round") {
				callers++
				many = append(many, commands.CallersRegistration{By: commands.Caller{Actor: fmt.Sprint("actor-", callers%3), RequestID: fmt.Sprint("request-", callers)}, RegisterInstance: registration})
			}
			tried := one.service.TryRegisterMany(ctx, many, nil)
			named := map[domain.Key]bool{}
			for i, m := range many {
				if tried[i].Known == named[m.Key] {
					r.Fatalf("%+v of %+v is known: %t", m, many, tried[i].Known)
				}
				if named[m.Key] {
					continue
				}
				named[m.Key] = true
				want := other.service.Do(ctx, m.By, commands.Request{Command: m.RegisterInstance})
				entry := one.projections.Catalog().Find(m.Key)
				if want.Created && (entry == nil || entry.Position != tried[i].Position) {
					r.Fatalf("%+v came to %+v, and the catalog has %+v", m, tried[i], entry)
				}
				if tried[i].Position, want.Position = 0, 0; !reflect.DeepEqual(tried[i].Result, want) {
					r.Fatalf("%+v came to %+v, want %+v", m, tried[i], want)
				}
			}
		}
		if got, want := streams(r, one.store), streams(r, other.store); !reflect.DeepEqual(got, want) {
			r.Errorf("the streams have %q, want %q", got, want)
		}
	})
}

// streams are what the events of each stream say, in their order.
func streams(t interface{ Fatal(...any) }, store eventstore.Store) map[eventstore.StreamName][]string {
	all := map[eventstore.StreamName][]string{}
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all[e.Stream] = append(all[e.Stream], fmt.Sprintf("%s %s %s", e.Type, e.Data, e.Metadata))
	}
	return all
}

// behind is a catalog that knows of nothing.
type behind struct{}

func (behind) Position() eventstore.Position                      { return 0 }
func (behind) WaitFor(context.Context, eventstore.Position) error { return nil }
func (behind) catalog() commands.Catalog                          { return catalog.New() }

func TestARegistrationOfAnInstanceThatTheCatalogLacksIsDecidedOnItsStream(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	was := n.do(t, domain.RegisterInstance{Key: key("known"), Owner: "a", Details: details(time.Hour)})
	service := commands.New(n.store, behind{}.catalog, behind{}, nil)
	batch := []domain.RegisterInstance{
		{Key: key("new"), Details: details(time.Hour)},
		{Key: key("known"), Owner: "a", Details: details(time.Hour)},
		{Key: key("newer"), Details: details(time.Hour)},
	}
	results, kept := service.RegisterAll(ctx, nil, caller, batch)
	if len(results) != 3 || !results[0].Created || results[1].Created || results[1].Err != nil || results[1].Epoch != was.Epoch || !results[2].Created {
		t.Errorf("it came to %+v", results)
	}
	if !kept {
		t.Error("a command has the texts of the registration, and may keep them")
	}
	tried := service.TryRegisterMany(ctx, []commands.CallersRegistration{
		{By: caller, RegisterInstance: batch[1]},
		{By: caller, RegisterInstance: domain.RegisterInstance{Key: key("newest"), Details: details(time.Hour)}},
	}, nil)
	if known := tried[0]; !known.Known || known.Created || known.Err != nil || known.Epoch != was.Epoch || !tried[1].Created {
		t.Errorf("those of many callers came to %+v", tried)
	}
	taken := batch[1]
	taken.CreateOnly = true
	if r, _ := service.Register(ctx, caller, taken); r.Err != (domain.AlreadyLive{Key: key("known"), Epoch: 1}) {
		t.Errorf("a registration that may only create came to %+v", r)
	}
}
