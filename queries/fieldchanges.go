package queries

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func changes(event domain.Event, previous *eventstore.RecordedEvent) []wire.FieldChange {
	switch e := event.(type) {
	case domain.HealthChanged:
		return []wire.FieldChange{{Field: "status", From: e.From, To: e.To}}
	case domain.TrafficChanged:
		return []wire.FieldChange{{Field: "traffic", From: e.From, To: e.To}}
	case domain.CheckAdded:
		return statusChange(nil, e.PreviousStatus, e.Status)
	case domain.CheckRemoved:
		return statusChange(nil, e.PreviousStatus, e.Status)
	case domain.CheckChanged:
		return statusChange([]wire.FieldChange{{Field: "checks." + e.Check, From: e.From, To: e.To}}, e.PreviousStatus, e.Status)
	case domain.InstanceUpdated:
		if previous == nil {
			return nil
		}
		before, err := eventstore.Decode(previous)
		if err != nil {
			return nil
		}
		switch b := before.(type) {
		case domain.InstanceRegistered:
			return updateChanges(b.Details, e)
		case domain.InstanceUpdated:
			return updateChanges(b.Details, e)
		}
	}
	return nil
}

// updateChanges are the changes of an update. The status before the update is the status that was present, which can
// differ from the status in the details before. An event of schema 1 does not have the status that was present: then the
// change has no From.
func updateChanges(before domain.Details, e domain.InstanceUpdated) []wire.FieldChange {
	after := e.Details
	before.Status, after.Status = "", ""   // the status is added last
	before.Checks, after.Checks = nil, nil // events in between may have changed the checks
	all := detailChanges(before, after)
	if slices.Contains(e.Changed, "checks") {
		all = append(all, wire.FieldChange{Field: "checks", To: checkIDs(e.Checks)})
	}
	if !slices.Contains(e.Changed, "status") {
		return all
	}
	status := wire.FieldChange{Field: "status", To: e.Details.Status}
	if e.PreviousStatus != "" {
		status.From = e.PreviousStatus
	}
	return append(all, status)
}

// detailChanges names the fields in which two details differ. Ports and metadata are compared key
// by key.
func detailChanges(a, b domain.Details) []wire.FieldChange {
	var all []wire.FieldChange
	for _, field := range a.Diff(b) {
		switch field {
		case "address":
			all = append(all, wire.FieldChange{Field: field, From: a.Address, To: b.Address})
		case "ports":
			all = append(all, mapChanges("ports.", a.Ports, b.Ports)...)
		case "metadata":
			all = append(all, mapChanges("metadata.", a.Metadata, b.Metadata)...)
		case "tags":
			all = append(all, wire.FieldChange{Field: field, From: notNil(a.Tags), To: notNil(b.Tags)})
		case "zone":
			all = append(all, wire.FieldChange{Field: field, From: a.Zone, To: b.Zone})
		case "version":
			all = append(all, wire.FieldChange{Field: field, From: a.Version, To: b.Version})
		case "origin":
			all = append(all, wire.FieldChange{Field: field, From: a.Origin, To: b.Origin})
		case "weight":
			all = append(all, wire.FieldChange{Field: field, From: a.Weight, To: b.Weight})
		case "status":
			all = append(all, wire.FieldChange{Field: field, From: a.Status, To: b.Status})
		case "ttl":
			all = append(all, wire.FieldChange{Field: field, From: a.TTL, To: b.TTL})
		case "on_lapse":
			all = append(all, wire.FieldChange{Field: field, From: cmp.Or(a.OnLapse, domain.LapseRemoves), To: cmp.Or(b.OnLapse, domain.LapseRemoves)})
		case "remove_after":
			all = append(all, wire.FieldChange{Field: field, From: a.RemoveAfter, To: b.RemoveAfter})
		case "checks":
			all = append(all, wire.FieldChange{Field: field, From: checkIDs(a.Checks), To: checkIDs(b.Checks)})
		}
	}
	return all
}

func notNil(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

func mapChanges[V comparable](prefix string, a, b map[string]V) []wire.FieldChange {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	var all []wire.FieldChange
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		from, was := a[k]
		to, is := b[k]
		if was == is && from == to {
			continue
		}
		c := wire.FieldChange{Field: prefix + k}
		if was {
			c.From = from
		}
		if is {
			c.To = to
		}
		all = append(all, c)
	}
	return all
}
