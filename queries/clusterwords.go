package queries

import (
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
)

// clusterWords describes an event about the nodes of a cluster.
func clusterWords(event domain.Event) string {
	switch e := event.(type) {
	case domain.ClusterStarted:
		return "the registry is a cluster of " + memberWords(e.Members) + " from now on"
	case domain.MemberAdded:
		return because("node "+e.ID+" at "+e.Address+" became a member of the cluster", e.Reason)
	case domain.MemberRemoved:
		return because("node "+e.ID+" at "+e.Address+" is no member of the cluster any more", e.Reason)
	case domain.ClusterRecovered:
		return because("an operator made node "+e.ID+" the only member of the cluster, without "+memberWords(e.Lost)+": events that only those had are missing", e.Reason)
	}
	return event.EventType()
}

func memberWords(all []domain.Member) string {
	if len(all) == 0 {
		return "no other node"
	}
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.ID + " (" + m.Address + ")"
	}
	return strings.Join(names, ", ")
}
