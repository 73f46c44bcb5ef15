package client

import (
	"cmp"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// round is what a keeper sends at once.
type round struct {
	beats    []*Kept
	inspects []*Kept
	commands []pending
	unsent   []*Kept // which end, and of which the registry has never been told
}

// pending is a command of an instance, as it was when the round was made.
type pending struct {
	kept    *Kept
	step    step
	version uint64 // of the value that the command sets
	item    commandItem
}

func (r *round) empty() bool {
	return len(r.beats)+len(r.inspects)+len(r.commands)+len(r.unsent) == 0
}

// add adds what an instance needs. REQUIRES: the caller holds the keeper's mu.
func (r *round) add(next step, k *Kept) {
	k.class = k.keeper.client.options.Timeout
	for k.class > max(k.interval(), time.Millisecond) {
		k.class /= 4
	}
	switch {
	case next == heartbeat:
		r.beats = append(r.beats, k)
	case next == inspect:
		r.inspects = append(r.inspects, k)
	case next == deregister && !k.sent:
		r.unsent = append(r.unsent, k)
	default:
		r.commands = append(r.commands, k.command(next))
	}
}

// commandItem is one item of POST /v1/commands.
type commandItem struct {
	Type      string `json:"type"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	ID        string `json:"id"`
	Owner     string `json:"owner"`
	Epoch     uint64 `json:"epoch,omitempty"`
	*domain.Details
	Checks      *[]domain.Check     `json:"checks,omitempty"` // nil: the registration names none, and keeps those of the instance
	IfNoneMatch string              `json:"if_none_match,omitempty"`
	Status      domain.Status       `json:"status,omitempty"`
	Output      string              `json:"output,omitempty"`
	Source      domain.HealthSource `json:"source,omitempty"`
	Traffic     domain.Traffic      `json:"traffic,omitempty"`
	Reason      string              `json:"reason,omitempty"`
}

// command is the command of a step. REQUIRES: the caller holds the keeper's mu.
func (k *Kept) command(next step) pending {
	c := pending{kept: k, step: next, item: commandItem{Namespace: k.Key.Namespace, Service: k.Key.Service, ID: k.Key.ID, Owner: k.Owner}}
	switch next {
	case register:
		details := k.Details
		c.version, c.item.Type, c.item.Details = k.details.want, "RegisterInstance", &details
		if details.Checks != nil {
			c.item.Checks = &details.Checks
		}
		if k.details.have == 0 { // the registration begins an epoch, or the registry was restored
			c.item.Status = cmp.Or(k.health.Status, details.Status)
		}
		switch {
		case k.state.Phase == Registered: // an update
		case k.over != 0:
			c.item.Epoch = k.over
		case !k.takeOver:
			c.item.IfNoneMatch = "*"
		}
		k.sent = true
	case reportHealth:
		c.version, c.item.Type = k.reported.want, "ReportHealth"
		c.item.Status, c.item.Output, c.item.Source = k.health.Status, k.health.Output, k.health.Source
	case changeTraffic:
		c.version, c.item.Type = k.routed.want, "ChangeTraffic"
		c.item.Traffic, c.item.Reason = k.traffic, k.why
	case drain:
		c.item.Type, c.item.Traffic, c.item.Reason = "ChangeTraffic", domain.Draining, k.Reason
	case deregister:
		c.item.Type, c.item.Reason = "DeregisterInstance", k.Reason
	}
	return c
}

// checkBytes is about how many bytes a check takes beside its longest texts.
const checkBytes = 512

// size is about how many bytes of a body the command takes.
func (c *pending) size() int {
	n := 512 + len(c.item.Output) + len(c.item.Reason)
	if d := c.item.Details; d != nil {
		for key, value := range d.Metadata {
			n += 8 + len(key) + len(value)
		}
		for _, tag := range d.Tags {
			n += 4 + len(tag)
		}
		n += 80 * len(d.Ports)
		for _, check := range d.Checks {
			n += checkBytes + len(check.Name) + len(check.Notes) + len(check.URL) + len(check.Body)
			for name, value := range check.Headers {
				n += 8 + len(name) + len(value)
			}
		}
	}
	return n
}
