package commands

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Membership is a store that is kept by a cluster of nodes.
type Membership interface {
	// Leads says whether this node leads, and in which term.
	Leads() (term uint64, ok bool)
	// AddMember returns when the node is a member with a vote, or has failed to become one in time.
	AddMember(ctx context.Context, m domain.Member) error
	RemoveMember(ctx context.Context, id string) error
	// TransferLead gives the lead to a member; id "": to the most current one.
	TransferLead(ctx context.Context, id string) error
	Self() string // the id of this node
	// Members are the nodes that have a vote.
	Members() []domain.Member
	// Learners are the nodes that are being added, and have no vote yet.
	Learners() []domain.Member
}

// Cluster carries out operators' commands about the nodes of a cluster, and records who is a member. Who is a member is
// decided by the log of the cluster, not by events, so that an event comes after the fact: RecordMembers records what a
// node did not live to tell.
type Cluster struct {
	Store       eventstore.Store
	Projections Progress
	Membership  Membership
	Logger      *slog.Logger

	turn   turn // one change at a time on this node; guards told and events
	told   domain.Members
	events uint64 // of the registry's stream that are in told
}

// nobody is the caller of what no operator told of.
var nobody = Caller{Actor: "rollcall", Via: domain.ViaCluster}

// Add makes a node a member.
func (c *Cluster) Add(ctx context.Context, caller Caller, m domain.Member, reason string) error {
	if err := errors.Join(m.Validate(), domain.ValidateReason(reason)); err != nil {
		return err
	}
	if err := c.record(ctx, nobody, ""); err != nil { // what was so before is not the caller's doing
		return err
	}
	if err := c.Membership.AddMember(ctx, m); err != nil {
		return err
	}
	return c.record(ctx, caller, reason)
}

// Remove takes a node out of the cluster.
func (c *Cluster) Remove(ctx context.Context, caller Caller, id, reason string) error {
	if err := errors.Join(domain.ValidateMemberID(id), domain.ValidateReason(reason)); err != nil {
		return err
	}
	members := domain.Members(c.Membership.Members())
	_, votes := members.Find(id)
	_, learns := domain.Members(c.Membership.Learners()).Find(id) // it may have died before it got a vote
	switch {
	case !votes && !learns:
		return domain.UnknownMember{ID: id}
	case votes && len(members) == 1:
		return domain.MemberRefused{Why: "member " + id + " is the only one: the registry would have no node"}
	case id == c.Membership.Self():
		return domain.MemberRefused{Why: "member " + id + " cannot remove itself: ask another member to remove it"} // it could not record that afterwards
	}
	if err := c.record(ctx, nobody, ""); err != nil {
		return err
	}
	if err := c.Membership.RemoveMember(ctx, id); err != nil {
		return err
	}
	return c.record(ctx, caller, reason)
}

// Transfer gives the lead to a member; id "": to the most current one.
func (c *Cluster) Transfer(ctx context.Context, id string) error {
	if id != "" {
		if _, ok := domain.Members(c.Membership.Members()).Find(id); !ok {
			return domain.UnknownMember{ID: id}
		}
	}
	return c.Membership.TransferLead(ctx, id)
}

// record appends the events that the log of events lacks of the present members.
func (c *Cluster) record(ctx context.Context, caller Caller, reason string) error {
	release, err := c.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	for range attempts {
		if err := c.catchUp(ctx); err != nil {
			return err
		}
		changes := c.told.Changes(c.Membership.Members(), reason)
		if len(changes) == 0 {
			return nil
		}
		at, err := appendTo(ctx, c.Store, eventstore.RegistryStream, eventstore.Unchanged(c.events), caller, changes...)
		if err == nil {
			return c.Projections.WaitFor(ctx, at)
		}
		if !errors.As(err, new(*eventstore.WrongExpectedRevision)) {
			return err
		}
	}
	return ErrContended
}

// catchUp folds the events of the registry's stream that are not in told.
func (c *Cluster) catchUp(ctx context.Context) error {
	for e, err := range c.Store.ReadStream(ctx, eventstore.RegistryStream, eventstore.ReadOptions{From: eventstore.Revision(c.events)}) {
		if err != nil {
			return err
		}
		c.events = uint64(e.Revision) + 1
		if !slices.Contains(domain.ClusterTypes, e.Type) {
			continue
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			return err
		}
		c.told = c.told.After(event)
	}
	return nil
}

// RecordMembers records at every tick, while this node leads, changes of the members that nobody recorded: the first
// members, and those whose node died before it told. A change must stand for a tick, so that the node on which an operator
// made it is the one that records it, with the operator's name.
func (c *Cluster) RecordMembers(ctx context.Context, ticks <-chan time.Time) error {
	var before []domain.Member
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		if _, leads := c.Membership.Leads(); !leads {
			before = nil
			continue
		}
		now := c.Membership.Members()
		if slices.Equal(before, now) {
			if err := c.record(ctx, nobody, ""); err != nil && ctx.Err() == nil {
				c.Logger.Warn("the members of the cluster could not be recorded; it is tried again", "cause", err)
			}
		}
		before = slices.Clone(now)
	}
}
