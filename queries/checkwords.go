package queries

import (
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// checkWords describes an event of a check.
func checkWords(event domain.Event, recordedAt time.Time) string {
	switch e := event.(type) {
	case domain.CheckAdded:
		verb := "added"
		if e.Replaces {
			verb = "redefined"
		}
		return fmt.Sprintf("check %s %s: %s", e.Check.ID, verb, definitionWords(e.Check)) + statusWords(e.PreviousStatus, e.Status)
	case domain.CheckRemoved:
		return "check " + e.Check + " removed" + statusWords(e.PreviousStatus, e.Status)
	case domain.CheckChanged:
		return changedWords(e, recordedAt)
	}
	return event.EventType()
}

// changedWords say "check http went critical: GET /health answered 503 after 12 ms, seen by node n1".
func changedWords(e domain.CheckChanged, recordedAt time.Time) string {
	words := fmt.Sprintf("check %s went %s", e.Check, e.To)
	switch e.Cause {
	case domain.CheckLapsed:
		heard := "no report came, the last report is not known"
		switch {
		case !e.Last.IsZero():
			heard = "no report came, last report " + Spaced(recordedAt.Sub(e.Last)) + " before"
		case !e.Began.IsZero():
			heard = "no report came since it was defined " + Spaced(recordedAt.Sub(e.Began)) + " before"
		}
		return words + ": " + heard + ", ttl " + Spaced(time.Duration(e.TTL))
	case domain.CheckProbed:
		saw, _, _ := strings.Cut(e.Output, "\n") // and then what the target's answer began with
		words = because(words, saw)
		if e.Looks > 1 {
			words += fmt.Sprintf(", %d times in a row", e.Looks)
		}
		return words + ", seen by node " + e.By
	}
	return because(words+", says the client", e.Output)
}

// statusWords name a change of the instance's status.
func statusWords(from, to domain.Status) string {
	if from == "" {
		return ""
	}
	return fmt.Sprintf("; health went from %s to %s", from, to)
}

// definitionWords say what a check tests.
func definitionWords(c domain.Check) string {
	switch c.Kind {
	case domain.CheckTTL:
		return "a report within " + Spaced(time.Duration(c.TTL))
	case domain.CheckHTTP:
		method := c.Method
		if method == "" {
			method = "GET"
		}
		return method + " " + c.URL + " every " + Spaced(time.Duration(c.Interval))
	}
	target := c.Target
	if target == "" {
		target = "port " + c.Port
	}
	return string(c.Kind) + " " + target + " every " + Spaced(time.Duration(c.Interval))
}

// healthWords describe a change of health that a lease made, or that changed only what the instance says of itself.
func healthWords(e domain.HealthChanged, recordedAt time.Time) (words string, ok bool) {
	switch {
	case e.Lapsed && e.KeptBy != "":
		return fmt.Sprintf("lease lapsed, health went from %s to %s: %s, ttl %s; policy %s keeps it as one of the last of its service",
			e.From, e.To, heardWords(e.LastHeard, recordedAt), Spaced(time.Duration(e.TTL)), e.KeptBy), true
	case e.Lapsed:
		return fmt.Sprintf("lease lapsed, health went from %s to %s: %s, ttl %s",
			e.From, e.To, heardWords(e.LastHeard, recordedAt), Spaced(time.Duration(e.TTL))), true
	case e.Source == domain.FromLease && e.From == e.To:
		return fmt.Sprintf("heard again after its lease lapsed; health stays %s", e.To), true
	case e.Source == domain.FromLease:
		return fmt.Sprintf("heard again after its lease lapsed, health went from %s to %s", e.From, e.To), true
	case e.Reported != "":
		return because(fmt.Sprintf("reported as %s by the %s; health stays %s, by its checks or its lease", e.Reported, e.Source, e.To), e.Output), e.From == e.To
	}
	return "", false
}

// heardWords say when a lease was renewed last, and never call a registration a heartbeat.
func heardWords(last domain.LastHeard, recordedAt time.Time) string {
	before := func(t time.Time) string { return Spaced(recordedAt.Sub(t)) + " before" }
	switch {
	case !last.LastHeartbeat.IsZero():
		return "last heartbeat " + before(last.LastHeartbeat)
	case !last.LastRegistered.IsZero():
		return "no heartbeat since it registered " + before(last.LastRegistered)
	case !last.LastEither.IsZero():
		return "last heard " + before(last.LastEither)
	}
	return "the last heartbeat is not known"
}

func leaseWords(d domain.Details) string {
	if d.TTL == domain.NoTTL {
		return "no ttl"
	}
	words := "ttl " + Spaced(time.Duration(d.TTL))
	if d.OnLapse == domain.LapseCritical {
		words += ", critical when it lapses"
		if d.RemoveAfter > 0 {
			words += " and removed after " + Spaced(time.Duration(d.RemoveAfter))
		}
	}
	return words
}

func checksWords(checks []domain.Check) string {
	switch len(checks) {
	case 0:
		return ""
	case 1:
		return ", with check " + checks[0].ID
	}
	return ", with checks " + strings.Join(checkIDs(checks), ", ")
}

func checkIDs(checks []domain.Check) []string {
	ids := make([]string, len(checks))
	for i, c := range checks {
		ids[i] = c.ID
	}
	return ids
}

func statusChange(all []wire.FieldChange, from, to domain.Status) []wire.FieldChange {
	if from == "" {
		return all
	}
	return append(all, wire.FieldChange{Field: "status", From: from, To: to})
}
