package queries

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ShowEntry gives an entry in the form of the API.
func ShowEntry(timelines eventstore.Timelines, e *history.Entry) wire.HistoryEntry {
	shown := wire.HistoryEntry{
		EventID: e.ID, Position: at(timelines, e.Position), Revision: e.Revision, RecordedAt: e.RecordedAt, Type: e.Type, Leaf: e.Leaf,
		Actor: e.Metadata.Actor, Source: e.Metadata.Source, Via: e.Metadata.Via, RequestID: e.Metadata.RequestID, Data: json.RawMessage(e.Data),
		Reverts: e.Metadata.Reverts, Reason: e.Metadata.Reason,
	}
	if key, ok := e.Stream.InstanceKey(); ok {
		shown.Namespace, shown.Service, shown.ID = key.Namespace, key.Service, key.ID
	}
	event, err := eventstore.Decode(&e.RecordedEvent)
	if err != nil {
		if !json.Valid(e.Data) { // an event of another program: the data is shown as text
			shown.Data, _ = json.Marshal(string(e.Data))
		}
		shown.Summary = "an event that this version cannot read"
		return shown
	}
	shown.Summary = Words(event, e.RecordedAt)
	if e.Metadata.Forced != "" {
		shown.Summary += "; forced past policy " + e.Metadata.Forced
	}
	if e.Metadata.Reverts != "" {
		shown.Summary += "; this reverts event " + e.Metadata.Reverts
		if reason := e.Metadata.Reason; reason != "" && !strings.Contains(shown.Summary, reason) {
			shown.Summary += ", because: " + reason
		}
	}
	shown.Changes = changes(event, e.Previous)
	return shown
}

// Words describes an event in one line.
func Words(event domain.Event, recordedAt time.Time) string {
	switch e := event.(type) {
	case domain.InstanceRegistered:
		again := ""
		if e.Epoch > 1 {
			again = fmt.Sprintf(" again, for the %s time", ordinal(e.Epoch))
		}
		return "registered" + again + " at " + endpoint(e.Details) + ", " + string(e.Status) + ", " + leaseWords(e.Details) +
			checksWords(e.Checks) + ownerWords(e) + maintenanceWords(e.Maintenance)
	case domain.InstanceUpdated:
		return "registered with other details: " + strings.Join(e.Changed, ", ") + " changed"
	case domain.HealthChanged:
		if words, ok := healthWords(e, recordedAt); ok {
			return words
		}
		return because(fmt.Sprintf("health went from %s to %s, says the %s", e.From, e.To, e.Source), e.Output)
	case domain.TrafficChanged:
		return because(fmt.Sprintf("traffic went from %s to %s", e.From, e.To), e.Reason)
	case domain.InstanceDeregistered:
		if e.Check != "" {
			return fmt.Sprintf("removed: check %s was critical since %s, and remove_after is %s",
				e.Check, e.CriticalSince.UTC().Format(time.RFC3339), Spaced(time.Duration(e.RemoveAfter)))
		}
		return because("deregistered", e.Reason)
	case domain.LeaseExpired:
		if !e.CriticalSince.IsZero() {
			return fmt.Sprintf("removed: no heartbeat since the lease lapsed at %s, and remove_after is %s",
				e.CriticalSince.UTC().Format(time.RFC3339), Spaced(time.Duration(e.RemoveAfter)))
		}
		return "lease expired: " + heardWords(e.LastHeard, recordedAt) + ", ttl " + Spaced(time.Duration(e.TTL))
	case domain.HeartbeatReceived:
		if e.Check != "" {
			return "check " + e.Check + " reported as before"
		}
		return "heartbeat"
	case domain.CheckAdded, domain.CheckRemoved, domain.CheckChanged:
		return checkWords(event, recordedAt)
	case domain.WebhookCreated:
		return "webhook to " + e.URL + " created"
	case domain.WebhookPaused:
		return because("webhook paused", e.Reason)
	case domain.WebhookResumed:
		return "webhook resumed"
	case domain.WebhookReplayed:
		return fmt.Sprintf("webhook sent to what comes after position %d", e.After)
	case domain.WebhookDeleted:
		return because("webhook deleted", e.Reason)
	case domain.SelfPreservationStarted, domain.SelfPreservationEnded, domain.ListeningInterrupted:
		return registryWords(event)
	case domain.ClusterStarted, domain.MemberAdded, domain.MemberRemoved, domain.ClusterRecovered:
		return clusterWords(event)
	case domain.PolicySet, domain.PolicyRemoved, domain.RemovalAdmitted, domain.RemovalsStopped, domain.RemovalWithdrawn:
		return policyWords(event)
	case domain.TokenCreated, domain.TokenRotated, domain.TokenRevoked, domain.RoleSet, domain.RoleRemoved:
		return accessWords(event)
	}
	if e, ok := event.(domain.TimelineBegan); ok {
		return timelineBegan(e)
	}
	return event.EventType()
}

func timelineBegan(e domain.TimelineBegan) string {
	goesOn := fmt.Sprintf("the log goes on after position %d as timeline %s", e.After, e.Timeline)
	switch {
	case e.Reason == domain.Restored && e.Backup != nil:
		return fmt.Sprintf("restored from the backup of %s: %s", e.Backup.UTC().Format(time.RFC3339), goesOn)
	case e.Reason == domain.Restored:
		return "restored from a backup: " + goesOn
	case e.Reason == domain.Recovered:
		return "recovered from one node of the cluster: " + goesOn
	case e.Reason == domain.Migrated:
		return "moved from another event store: " + goesOn
	case e.Reason == domain.TailLost:
		return fmt.Sprintf("the log lost its events up to position %d: %s", e.Lost, goesOn)
	}
	return goesOn
}

// ownerWords name the owner of a registration, and the epoch that the registration replaces.
func ownerWords(e domain.InstanceRegistered) (words string) {
	if e.Owner != "" {
		words = ", by owner " + e.Owner
	}
	if e.Replaces != 0 {
		words += fmt.Sprintf(", in place of epoch %d", e.Replaces)
	}
	return words
}

func maintenanceWords(m *domain.InMaintenance) string {
	if m == nil {
		return ""
	}
	words := "; still in maintenance"
	if m.By != "" {
		words += ", by " + m.By
	}
	return because(words+" since "+m.At.UTC().Format(time.RFC3339), m.Reason)
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func endpoint(d domain.Details) string {
	if len(d.Ports) == 0 {
		return d.Address
	}
	names := slices.AppendSeq(make([]string, 0, 8), maps.Keys(d.Ports))
	slices.Sort(names)
	b := append(append(make([]byte, 0, 64), d.Address...), " ("...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, name...), '=')
		b = strconv.AppendUint(b, uint64(d.Ports[name]), 10)
	}
	return string(append(b, ')'))
}

func ordinal(n uint64) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}

// Spaced writes a duration as people do: 31.2 s, 5 m, 1 h 30 m.
func Spaced(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Hour:
		return joined(d/time.Minute, "m", (d%time.Minute)/time.Second, "s")
	}
	return joined(d/time.Hour, "h", (d%time.Hour)/time.Minute, "m")
}

func joined(a time.Duration, unitA string, b time.Duration, unitB string) string {
	words := strconv.FormatInt(int64(a), 10) + " " + unitA
	if b == 0 {
		return words
	}
	return words + " " + strconv.FormatInt(int64(b), 10) + " " + unitB
}

// heartbeatHours sums up an instance's heartbeats between two times. newest has the newest entries of the instance, from the newest one
// down, if it has any.
func heartbeatHours(ctx context.Context, h *history.History, key domain.Key, newest history.Page, from, to, now time.Time) ([]wire.HeartbeatHour, error) {
	summaries, err := h.Heartbeats(ctx, key, from, to)
	if err != nil || len(summaries) == 0 {
		return nil, err
	}
	life, err := lifetimes(ctx, h, key, newest, summaries[0].Hour)
	if err != nil {
		return nil, err
	}
	hours := make([]wire.HeartbeatHour, len(summaries))
	for i, s := range summaries {
		for len(life) > 1 && !life[1].at.After(s.Hour) {
			life = life[1:] // what was replaced before the hour
		}
		hours[i] = wire.HeartbeatHour{
			Hour: s.Hour, Received: s.Received, LongestGap: domain.Duration(s.LongestGap), Last: s.Last,
			Expected: expected(life, s.Hour, min(now.Sub(s.Hour), time.Hour)),
		}
	}
	return hours, nil
}

// lifetime is the ttl that an instance has from a time on; 0: it is not registered.
type lifetime struct {
	at  time.Time
	ttl time.Duration
}

// lifetimes are those of an instance since a time, in order. The first began at the time or before it, if the instance was
// registered then. newest is as for heartbeatHours.
func lifetimes(ctx context.Context, h *history.History, key domain.Key, newest history.Page, since time.Time) (life []lifetime, err error) {
	q := history.Query{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Newest: true, Before: newest.Next, Types: lifeTypes}
	more := func(recorded *eventstore.RecordedEvent) bool {
		began := lifetime{at: recorded.RecordedAt}
		data, err := eventstore.Upcasted(recorded)
		if err == nil && (recorded.Type == domain.TypeInstanceRegistered || recorded.Type == domain.TypeInstanceUpdated) {
			began.ttl, err = catalog.TTLOf(recorded.Type, data)
		}
		if err != nil { // an event that cannot be read changed nothing
			return true
		}
		life = append(life, began)
		return began.at.After(since)
	}
	read := len(newest.Entries) == 0 || newest.More
	for i := range newest.Entries {
		if slices.Contains(lifeTypes, newest.Entries[i].Type) && !more(&newest.Entries[i].RecordedEvent) {
			read = false
			break
		}
	}
	if read {
		err = h.Each(ctx, q, more)
	}
	slices.Reverse(life)
	return life, err
}

// lifeTypes are the types of the events that begin, change or end a lifetime.
var lifeTypes = []string{domain.TypeInstanceRegistered, domain.TypeInstanceUpdated, domain.TypeInstanceDeregistered, domain.TypeLeaseExpired}

// expected is the fewest heartbeats that keep the lease through the hour: the time in which the instance was registered,
// divided by the ttl of that time.
func expected(life []lifetime, hour time.Time, length time.Duration) uint64 {
	var sum float64
	var ttl time.Duration // 0: not registered
	since := hour
	until := func(at time.Time) {
		begin, end := since, at
		if begin.Before(hour) {
			begin = hour
		}
		if limit := hour.Add(length); end.After(limit) {
			end = limit
		}
		if ttl > 0 && end.After(begin) {
			sum += float64(end.Sub(begin)) / float64(ttl)
		}
		since = at
	}
	for _, l := range life {
		if l.at.After(hour.Add(length)) {
			break
		}
		until(l.at)
		ttl = l.ttl
	}
	until(hour.Add(length))
	return uint64(sum)
}
