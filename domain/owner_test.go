package domain_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

// story is a test of the rules: given events, a command, then events or a refusal.
type story struct {
	given   []domain.Event
	when    domain.Command
	then    []domain.Event
	refused error
}

func (s story) run(t *testing.T) {
	t.Helper()
	then, err := domain.Decide(fold(s.given), s.when)
	if !errors.Is(err, s.refused) {
		t.Fatalf("refused with %v, want %v", err, s.refused)
	}
	if !reflect.DeepEqual(then, s.then) {
		t.Fatalf("decided %+v, want %+v", then, s.then)
	}
}

func TestOwnersAndEpochs(t *testing.T) {
	owned := domain.InstanceRegistered{Epoch: 1, Owner: "old", Details: details}
	successor := domain.InstanceRegistered{Epoch: 2, Owner: "new", Replaces: 1, Details: details}
	renewed := []domain.Event{domain.HeartbeatReceived{Epoch: 1}}
	elsewhere := moved(func(d *domain.Details) { d.Address = "10.0.0.6" })
	both := []domain.Event{owned, successor}
	stale := domain.StaleEpoch{Key: key, Epoch: 1, Live: 2}
	other := domain.OtherOwner{Key: key, Owner: "old", Live: "new"}
	cases := map[string]story{
		"a registration records its owner": {
			when: domain.RegisterInstance{Key: key, Owner: "old", Details: details},
			then: []domain.Event{owned},
		},
		"another owner begins the next epoch, with equal details too": {
			given: []domain.Event{owned},
			when:  domain.RegisterInstance{Key: key, Owner: "new", Details: details},
			then:  []domain.Event{successor},
		},
		"an owner begins the next epoch where the live one has none": {
			given: []domain.Event{registered},
			when:  domain.RegisterInstance{Key: key, Owner: "new", Details: details},
			then:  []domain.Event{successor},
		},
		"the same owner renews": {
			given: []domain.Event{owned},
			when:  domain.RegisterInstance{Key: key, Owner: "old", Details: details},
			then:  renewed,
		},
		"the same owner updates": {
			given: []domain.Event{owned},
			when:  domain.RegisterInstance{Key: key, Owner: "old", Details: elsewhere},
			then:  []domain.Event{domain.InstanceUpdated{Epoch: 1, Owner: "old", Changed: []string{"address"}, Details: elsewhere}},
		},
		"no owner renews whoever is live": {
			given: []domain.Event{owned},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  renewed,
		},
		"no owner updates whoever is live, who stays its owner": {
			given: []domain.Event{owned},
			when:  domain.RegisterInstance{Key: key, Details: elsewhere},
			then:  []domain.Event{domain.InstanceUpdated{Epoch: 1, Owner: "old", Changed: []string{"address"}, Details: elsewhere}},
		},
		"an updated epoch keeps its owner": {
			given: []domain.Event{owned, domain.InstanceUpdated{Epoch: 1, Owner: "old", Changed: []string{"zone"}, Details: details}},
			when:  domain.SendHeartbeat{Key: key, Owner: "old"},
			then:  renewed,
		},
		"after the end nothing is replaced": {
			given: []domain.Event{owned, deregistered},
			when:  domain.RegisterInstance{Key: key, Owner: "new", Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Owner: "new", Details: details}},
		},
		"an owner does not outlive the epoch": {
			given: []domain.Event{owned, deregistered},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
		"a takeover may name the epoch that it replaces": {
			given: []domain.Event{owned},
			when:  domain.RegisterInstance{Key: key, Owner: "new", Epoch: 1, Details: details},
			then:  []domain.Event{successor},
		},
		"a takeover of another epoch is refused": {
			given:   both,
			when:    domain.RegisterInstance{Key: key, Owner: "third", Epoch: 1, Details: details},
			refused: stale,
		},
		"a registration for an epoch that has ended is refused": {
			given:   []domain.Event{owned, deregistered},
			when:    domain.RegisterInstance{Key: key, Owner: "old", Epoch: 1, Details: details},
			refused: domain.StaleEpoch{Key: key, Epoch: 1},
		},
		"a registration that only creates is refused where one is live": {
			given:   []domain.Event{owned},
			when:    domain.RegisterInstance{Key: key, Owner: "new", CreateOnly: true, Details: details},
			refused: domain.AlreadyLive{Key: key, Epoch: 1},
		},
		"a registration that only creates comes after the end": {
			given: []domain.Event{owned, deregistered},
			when:  domain.RegisterInstance{Key: key, Owner: "new", CreateOnly: true, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Owner: "new", Details: details}},
		},
		"the successor's own good-bye": {
			given: both,
			when:  domain.DeregisterInstance{Key: key, Owner: "new", Epoch: 2},
			then:  []domain.Event{domain.InstanceDeregistered{Epoch: 2}},
		},
		"an owner is refused where the live registration names none": {
			given:   []domain.Event{registered},
			when:    domain.SendHeartbeat{Key: key, Owner: "old"},
			refused: domain.OtherOwner{Key: key, Owner: "old"},
		},
	}
	for kind, late := range map[string]struct{ byEpoch, byOwner domain.Command }{
		"heartbeat": {domain.SendHeartbeat{Key: key, Epoch: 1}, domain.SendHeartbeat{Key: key, Owner: "old"}},
		"health":    {domain.ReportHealth{Key: key, Epoch: 1, Status: domain.Critical}, domain.ReportHealth{Key: key, Owner: "old", Status: domain.Critical}},
		"traffic":   {domain.ChangeTraffic{Key: key, Epoch: 1, Traffic: domain.Draining}, domain.ChangeTraffic{Key: key, Owner: "old", Traffic: domain.Draining}},
		"good-bye":  {domain.DeregisterInstance{Key: key, Epoch: 1}, domain.DeregisterInstance{Key: key, Owner: "old"}},
	} {
		cases["the predecessor's late "+kind+" by its epoch"] = story{given: both, when: late.byEpoch, refused: stale}
		cases["the predecessor's late "+kind+" by its owner"] = story{given: both, when: late.byOwner, refused: other}
	}
	for name, s := range cases {
		t.Run(name, s.run)
	}
}

func TestStatus(t *testing.T) {
	critical := domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Critical, Source: domain.FromClient}
	silent := moved(func(d *domain.Details) { d.Status = "" })
	as := func(s domain.Status, zone string) domain.Details {
		return moved(func(d *domain.Details) { d.Status, d.Zone = s, zone })
	}
	updated := func(previous domain.Status, d domain.Details, changed ...string) domain.Event {
		return domain.InstanceUpdated{Epoch: 1, Changed: changed, PreviousStatus: previous, Details: d}
	}
	cases := map[string]story{
		"a registration that names none begins as passing": {
			when: domain.RegisterInstance{Key: key, Details: silent},
			then: []domain.Event{registered},
		},
		"a registration that names none keeps the present one": {
			given: []domain.Event{registered, critical},
			when:  domain.RegisterInstance{Key: key, Details: silent},
			then:  []domain.Event{domain.HeartbeatReceived{Epoch: 1}},
		},
		"an update that names none states the present one": {
			given: []domain.Event{registered, critical},
			when:  domain.RegisterInstance{Key: key, Details: as("", "eu")},
			then:  []domain.Event{updated("", as(domain.Critical, "eu"), "zone")},
		},
		"a registration that names one sets it, whatever the last named": {
			given: []domain.Event{registered, critical},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{updated(domain.Critical, details, "status")},
		},
		"a registration that names the present one changes nothing": {
			given: []domain.Event{registered, critical},
			when:  domain.RegisterInstance{Key: key, Details: as(domain.Critical, "")},
			then:  []domain.Event{domain.HeartbeatReceived{Epoch: 1}},
		},
		"an update of schema 1 that does not change it states the one last named": {
			given: []domain.Event{registered, critical, updated("", as(domain.Passing, "eu"), "zone")},
			when:  domain.ReportHealth{Key: key, Status: domain.Critical, Source: domain.FromClient},
		},
		"a new owner begins as passing": {
			given: []domain.Event{registered, critical},
			when:  domain.RegisterInstance{Key: key, Owner: "new", Details: silent},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Owner: "new", Replaces: 1, Details: details}},
		},
		"a return begins as passing": {
			given: []domain.Event{registered, critical, expired},
			when:  domain.RegisterInstance{Key: key, Details: silent},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
	}
	for name, s := range cases {
		t.Run(name, s.run)
	}
}

func TestMaintenanceOutlivesEpochs(t *testing.T) {
	maintained := domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Maintenance, Reason: "disk"}
	drained := domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining}
	served := domain.TrafficChanged{Epoch: 1, From: domain.Maintenance, To: domain.Serving}
	decision := &domain.InMaintenance{By: "ann", At: recorded.At, Reason: "disk"}
	again := domain.InstanceRegistered{Epoch: 2, Maintenance: decision, Details: details}
	cases := map[string]story{
		"after good-bye it is registered in maintenance": {
			given: []domain.Event{registered, maintained, deregistered},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{again},
		},
		"after expiry it is registered in maintenance": {
			given: []domain.Event{registered, maintained, expired},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{again},
		},
		"a new owner's is, too": {
			given: []domain.Event{registered, maintained},
			when:  domain.RegisterInstance{Key: key, Owner: "new", Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Owner: "new", Replaces: 1, Maintenance: decision, Details: details}},
		},
		"it goes on over several epochs": {
			given: []domain.Event{registered, maintained, deregistered, again, domain.InstanceDeregistered{Epoch: 2}},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 3, Maintenance: decision, Details: details}},
		},
		"it is ended in a later epoch": {
			given: []domain.Event{registered, maintained, deregistered, again},
			when:  domain.ChangeTraffic{Key: key, Traffic: domain.Serving},
			then:  []domain.Event{domain.TrafficChanged{Epoch: 2, From: domain.Maintenance, To: domain.Serving}},
		},
		"it is ended where nothing is live": {
			given: []domain.Event{registered, maintained, deregistered},
			when:  domain.ChangeTraffic{Key: key, Traffic: domain.Serving, Reason: "mended"},
			then:  []domain.Event{domain.TrafficChanged{Epoch: 1, From: domain.Maintenance, To: domain.Serving, Reason: "mended"}},
		},
		"it is not ended for another epoch": {
			given:   []domain.Event{registered, maintained, deregistered},
			when:    domain.ChangeTraffic{Key: key, Epoch: 7, Traffic: domain.Serving},
			refused: domain.StaleEpoch{Key: key, Epoch: 7, Live: 1},
		},
		"ended where nothing is live, it is over": {
			given: []domain.Event{registered, maintained, deregistered, served},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
		"it cannot be ended twice": {
			given:   []domain.Event{registered, maintained, deregistered, served},
			when:    domain.ChangeTraffic{Key: key, Traffic: domain.Serving},
			refused: domain.UnknownInstance{Key: key, Deregistered: true},
		},
		"nothing else changes where nothing is live": {
			given:   []domain.Event{registered, maintained, expired},
			when:    domain.ChangeTraffic{Key: key, Traffic: domain.Draining},
			refused: domain.LeaseLapsed{Key: key},
		},
		"draining ends it": {
			given: []domain.Event{registered, maintained, domain.TrafficChanged{Epoch: 1, From: domain.Maintenance, To: domain.Draining}, deregistered},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
		"draining belongs to the epoch": {
			given: []domain.Event{registered, drained, deregistered},
			when:  domain.RegisterInstance{Key: key, Details: details},
			then:  []domain.Event{domain.InstanceRegistered{Epoch: 2, Details: details}},
		},
		"a new owner is not drained": {
			given: []domain.Event{registered, drained, domain.InstanceRegistered{Epoch: 2, Owner: "new", Replaces: 1, Details: details}},
			when:  domain.ChangeTraffic{Key: key, Traffic: domain.Serving},
		},
	}
	for name, s := range cases {
		t.Run(name, s.run)
	}
}

func TestWhatAnOlderVersionTookGoesOn(t *testing.T) {
	old := domain.Key{Namespace: "default", Service: "checkout", ID: ".."}
	everywhere := moved(func(d *domain.Details) { d.Address = "0.0.0.0" })
	longForm := moved(func(d *domain.Details) { d.Address = "2001:DB8:0:0::1" })
	state := domain.Evolve(domain.Instance{Key: old}, domain.InstanceRegistered{Epoch: 1, Details: everywhere}, recorded)
	for _, c := range []domain.Command{
		domain.SendHeartbeat{Key: old}, domain.DeregisterInstance{Key: old},
		domain.ReportHealth{Key: old, Status: domain.Critical, Source: domain.FromClient}, domain.ChangeTraffic{Key: old, Traffic: domain.Draining},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%T of an id that was legal: %v", c, err)
		}
	}
	same := domain.RegisterInstance{Key: old, Details: everywhere}
	if same.Validate() == nil || !state.Repeats(same) {
		t.Errorf("the registration that an older version took is not told from a new one")
	}
	same.Details.Zone = "eu"
	if state.Repeats(same) || (domain.Instance{}).Repeats(same) {
		t.Errorf("a registration that would be written is taken for a repetition")
	}
	story{
		given: []domain.Event{domain.InstanceRegistered{Epoch: 1, Details: longForm}},
		when:  domain.RegisterInstance{Key: key, Details: moved(func(d *domain.Details) { d.Address = "[2001:db8::1]" })},
		then:  []domain.Event{domain.HeartbeatReceived{Epoch: 1}},
	}.run(t)
}
