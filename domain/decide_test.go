package domain_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

var (
	key     = domain.Key{Namespace: "default", Service: "checkout", ID: "a-1"}
	details = domain.Details{
		Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}, Weight: 100,
		Status: domain.Passing, TTL: domain.Duration(30 * time.Second),
	}
	registered   = domain.InstanceRegistered{Epoch: 1, Details: details}
	deregistered = domain.InstanceDeregistered{Epoch: 1, Reason: "deploy"}
	expired      = domain.LeaseExpired{Epoch: 1, TTL: details.TTL}
	recorded     = domain.Recorded{Actor: "ann", At: time.Unix(1, 0).UTC()}
)

func moved(change func(*domain.Details)) domain.Details {
	d := details
	change(&d)
	return d
}

func TestDecide(t *testing.T) {
	elsewhere := moved(func(d *domain.Details) { d.Address, d.Status = "10.0.0.6", domain.Warning })
	cases := map[string]struct {
		given   []domain.Event
		when    domain.Command
		then    []domain.Event
		refused error
	}{
		"a first registration begins epoch 1": {
			when: domain.RegisterInstance{Key: key, Details: details},
			then: []domain.Event{registered},
		},
		"the same details again only renew": {
			given: []domain.Event{registered},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.HeartbeatReceived{Epoch: 1}},
		},
		"other details update": {
			given: []domain.Event{registered},
			when:  domain.RegisterInstance{Key: key, Details: elsewhere},
			then:  []domain.Event{domain.InstanceUpdated{Epoch: 1, Changed: []string{"address", "status"}, PreviousStatus: domain.Passing, Details: elsewhere}},
		},
		"registering after good-bye begins the next epoch": {
			given: []domain.Event{registered, deregistered},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
		"registering after expiry begins the next epoch": {
			given: []domain.Event{registered, expired},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
		"a heartbeat renews": {
			given: []domain.Event{registered},
			when:  domain.SendHeartbeat{Key: key},
			then:  []domain.Event{domain.HeartbeatReceived{Epoch: 1}},
		},
		"a heartbeat of an unknown instance is refused": {
			when:    domain.SendHeartbeat{Key: key},
			refused: domain.UnknownInstance{Key: key},
		},
		"a heartbeat after good-bye is refused": {
			given:   []domain.Event{registered, deregistered},
			when:    domain.SendHeartbeat{Key: key},
			refused: domain.UnknownInstance{Key: key, Deregistered: true},
		},
		"a heartbeat after expiry is refused": {
			given:   []domain.Event{registered, expired},
			when:    domain.SendHeartbeat{Key: key},
			refused: domain.LeaseLapsed{Key: key},
		},
		"a heartbeat of an earlier epoch is refused": {
			given:   []domain.Event{registered, expired, domain.InstanceRegistered{Epoch: 2, Details: details}},
			when:    domain.SendHeartbeat{Key: key, Epoch: 1},
			refused: domain.StaleEpoch{Key: key, Epoch: 1, Live: 2},
		},
		"a new status is a change": {
			given: []domain.Event{registered},
			when:  domain.ReportHealth{Key: key, Status: domain.Critical, Source: domain.FromClient, Output: "oom"},
			then:  []domain.Event{domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Critical, Source: domain.FromClient, Output: "oom"}},
		},
		"the same status is none": {
			given: []domain.Event{registered},
			when:  domain.ReportHealth{Key: key, Status: domain.Passing, Source: domain.FromClient},
		},
		"draining is a change": {
			given: []domain.Event{registered},
			when:  domain.ChangeTraffic{Key: key, Traffic: domain.Draining, Reason: "deploy"},
			then:  []domain.Event{domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining, Reason: "deploy"}},
		},
		"draining twice is one change": {
			given: []domain.Event{registered, domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining}},
			when:  domain.ChangeTraffic{Key: key, Traffic: domain.Draining},
		},
		"good-bye carries its reason": {
			given: []domain.Event{registered},
			when:  domain.DeregisterInstance{Key: key, Reason: "deploy"},
			then:  []domain.Event{deregistered},
		},
		"good-bye twice is refused": {
			given:   []domain.Event{registered, deregistered},
			when:    domain.DeregisterInstance{Key: key},
			refused: domain.UnknownInstance{Key: key, Deregistered: true},
		},
		"a lapsed lease expires": {
			given: []domain.Event{registered},
			when:  domain.ExpireLease{Key: key, Epoch: 1, Late: time.Second},
			then:  []domain.Event{domain.LeaseExpired{Epoch: 1, TTL: details.TTL, Late: domain.Duration(time.Second)}},
		},
		"a lapsed lease of an earlier epoch does not": {
			given:   []domain.Event{registered, deregistered, domain.InstanceRegistered{Epoch: 2, Details: details}},
			when:    domain.ExpireLease{Key: key, Epoch: 1},
			refused: domain.StaleEpoch{Key: key, Epoch: 1, Live: 2},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			then, err := domain.Decide(fold(c.given), c.when)
			if !errors.Is(err, c.refused) {
				t.Fatalf("refused with %v, want %v", err, c.refused)
			}
			if !reflect.DeepEqual(then, c.then) {
				t.Fatalf("decided %+v, want %+v", then, c.then)
			}
		})
	}
}

func fold(events []domain.Event) domain.Instance {
	i := domain.Instance{Key: key}
	for _, e := range events {
		i = domain.Evolve(i, e, recorded)
	}
	return i
}
