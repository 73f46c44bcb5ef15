package commands_test

import (
	"errors"
	"testing"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func TestOnlyTheRegistryWritesIntoItsOwnNamespace(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	own := commands.Caller{Actor: "rollcall", Via: "probes", Registry: true}
	key := domain.Key{Namespace: domain.RegistryNamespace, Service: "prober", ID: "n1"}
	register := domain.RegisterInstance{Key: key, Details: domain.Details{Address: "10.0.0.1", TTL: domain.Duration(domain.MaxTTL)}}
	refused := func(what string, err error) {
		t.Helper()
		var invalid domain.InvalidField
		if !errors.As(err, &invalid) || invalid.Field != "namespace" {
			t.Errorf("%s by a client: %v", what, err)
		}
	}
	refused("a registration", n.service.Do(ctx, caller, commands.Request{Command: register}).Err)
	if err := n.service.Do(ctx, own, commands.Request{Command: register}).Err; err != nil {
		t.Fatal(err)
	}
	for _, c := range []domain.Command{
		register, domain.SendHeartbeat{Key: key}, domain.SendHeartbeat{Key: key, Epoch: 1}, domain.ReportHealth{Key: key, Status: domain.Critical, Source: domain.FromClient},
		domain.ChangeTraffic{Key: key, Traffic: domain.Draining}, domain.DeregisterInstance{Key: key}, domain.AddCheck{Key: key},
	} {
		refused("a command", n.service.Do(ctx, caller, commands.Request{Command: c}).Err)
		refused("in a batch", n.service.DoAll(ctx, caller, []commands.Request{{Command: c}})[0].Err)
	}
	refused("a heartbeat of a batch", n.service.Heartbeats(caller).SendAll(ctx, []domain.Key{key}, nil, nil)[0].Err)
	if err := n.service.Heartbeats(own).SendAll(ctx, []domain.Key{key}, nil, nil)[0].Err; err != nil {
		t.Error(err)
	}
	if err := n.service.Do(ctx, own, commands.Request{Command: domain.SendHeartbeat{Key: key}}).Err; err != nil {
		t.Error(err)
	}
}
