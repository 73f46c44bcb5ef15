package queries

import (
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// policyWords say what an event of policies and guards means.
func policyWords(event domain.Event) string {
	switch e := event.(type) {
	case domain.PolicySet:
		return fmt.Sprintf("policy %s for %s/%s: %s", e.Name, e.Namespace, e.Service, strings.Join(PolicyAsks(e.PolicySpec), ", "))
	case domain.PolicyRemoved:
		return because("policy "+e.Name+" removed", e.Reason)
	case domain.RemovalAdmitted:
		words := fmt.Sprintf("%s of %s/%s admitted by policy %s: %d of %d instances are left ready", e.Removal, e.Service, e.Instance, strings.Join(e.Policies, ", "), e.Left, e.Total)
		if e.Forced {
			words = fmt.Sprintf("%s of %s/%s forced past policy %s: %d of %d instances are left ready", e.Removal, e.Service, e.Instance, strings.Join(e.Policies, ", "), e.Left, e.Total)
		}
		return because(words, e.Reason)
	case domain.RemovalWithdrawn:
		return fmt.Sprintf("the removal of %s/%s was admitted and not carried out: it counts for nothing", e.Service, e.Instance)
	case domain.RemovalsStopped:
		return fmt.Sprintf("policy %s stopped %s, who removed %d instances within %s", e.Policy, e.Actor, e.Removed, Spaced(time.Duration(e.Within)))
	}
	return event.EventType()
}

// PolicyAsks says in words what a policy asks for.
func PolicyAsks(p domain.PolicySpec) (asks []string) {
	if p.MinReady != "" {
		asks = append(asks, "min_ready "+string(p.MinReady))
	}
	if r := p.MaxRemovals; r != nil {
		asks = append(asks, fmt.Sprintf("max_removals %d within %s", r.Count, Spaced(time.Duration(r.Within))))
	}
	if p.KeepLast > 0 {
		asks = append(asks, fmt.Sprintf("keep_last %d", p.KeepLast))
	}
	if p.PanicThreshold != "" {
		asks = append(asks, "panic_threshold "+string(p.PanicThreshold))
	}
	return asks
}
