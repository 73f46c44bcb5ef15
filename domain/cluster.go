package domain

import (
	"net"
	"slices"
	"strconv"
)

// Names of the event types that tell of the nodes of a cluster. They are in the registry's own stream.
const (
	TypeClusterStarted   = "ClusterStarted"
	TypeMemberAdded      = "MemberAdded"
	TypeMemberRemoved    = "MemberRemoved"
	TypeClusterRecovered = "ClusterRecovered"
)

// ClusterTypes are the types of the events about the nodes of a cluster.
var ClusterTypes = []string{TypeClusterStarted, TypeMemberAdded, TypeMemberRemoved, TypeClusterRecovered}

// Member is a node of a cluster.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port at which the other members reach it
}

// ClusterStarted says that the registry is kept by a cluster of these nodes from now on.
type ClusterStarted struct {
	Members []Member `json:"members"`
}

// MemberAdded says that a node became a member of the cluster.
type MemberAdded struct {
	Member
	Reason string `json:"reason,omitempty"`
}

// MemberRemoved says that a node is no member of the cluster any more.
type MemberRemoved struct {
	Member
	Reason string `json:"reason,omitempty"`
}

// ClusterRecovered says that an operator made a node the only member, because the cluster had lost its majority. Events
// that only the lost members had are missing from the log.
type ClusterRecovered struct {
	Member          // the only one now
	Lost   []Member `json:"lost"` // the members before
	Reason string   `json:"reason,omitempty"`
}

func (ClusterStarted) EventType() string   { return TypeClusterStarted }
func (MemberAdded) EventType() string      { return TypeMemberAdded }
func (MemberRemoved) EventType() string    { return TypeMemberRemoved }
func (ClusterRecovered) EventType() string { return TypeClusterRecovered }

// Validate checks the fields of a member.
func (m Member) Validate() error {
	if err := ValidateMemberID(m.ID); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(m.Address)
	if n, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || n == 0 || host == "" || len(m.Address) > MaxReason {
		return InvalidField{Field: "address", Rule: "must be host:port, at which the other members reach the node"}
	}
	return nil
}

// ValidateMemberID checks the name of a member. Certificates bear the name.
func ValidateMemberID(id string) error { return ValidateLabel("id", id) }

// Members are the nodes of a cluster as its events tell, in the order of their ids. No members: there is no cluster.
type Members []Member

// After gives the members after an event of the registry's stream.
func (m Members) After(event Event) Members {
	switch e := event.(type) {
	case ClusterStarted:
		return sortedMembers(e.Members)
	case MemberAdded:
		return sortedMembers(append(m.without(e.ID), e.Member))
	case MemberRemoved:
		return m.without(e.ID)
	case ClusterRecovered:
		return Members{e.Member}
	}
	return m
}

func (m Members) without(id string) Members {
	return slices.DeleteFunc(slices.Clone(m), func(one Member) bool { return one.ID == id })
}

// Find is the member with an id.
func (m Members) Find(id string) (one Member, ok bool) {
	i := slices.IndexFunc(m, func(one Member) bool { return one.ID == id })
	if i < 0 {
		return one, false
	}
	return m[i], true
}

func sortedMembers(all []Member) Members {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Member) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return all
}

// Changes are the events that turn these members into others. A member whose address changed is removed and added.
func (m Members) Changes(now []Member, reason string) []Event {
	after := sortedMembers(now)
	if len(m) == 0 {
		if len(after) == 0 {
			return nil
		}
		return []Event{ClusterStarted{Members: after}}
	}
	var events []Event
	for _, one := range m {
		if same, ok := after.Find(one.ID); !ok || same != one {
			events = append(events, MemberRemoved{Member: one, Reason: reason})
		}
	}
	for _, one := range after {
		if same, ok := m.Find(one.ID); !ok || same != one {
			events = append(events, MemberAdded{Member: one, Reason: reason})
		}
	}
	return events
}

// NoCluster refuses a command about the members of a registry that is no cluster.
type NoCluster struct{}

func (NoCluster) Error() string {
	return "this registry is no cluster: its nodes are not started with --node and --cluster"
}

// UnknownMember refuses a command about a node that is no member.
type UnknownMember struct{ ID string }

func (e UnknownMember) Error() string { return "the cluster has no member " + e.ID }

// MemberRefused refuses a change of the members.
type MemberRefused struct{ Why string }

func (e MemberRefused) Error() string { return e.Why }
