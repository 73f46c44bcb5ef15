package consul

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Consul's statuses.
const (
	passing     = "passing"
	warning     = "warning"
	critical    = "critical"
	maintenance = "maintenance"
)

func statusOf(s domain.Status) string {
	switch s {
	case domain.Passing:
		return passing
	case domain.Warning:
		return warning
	}
	return critical
}

// serviceMaintenance is the beginning of the id of the check that says that a service is in maintenance, nodeMaintenance the id
// of the check that says it of a node.
const (
	serviceMaintenance = "_service_maintenance:"
	nodeMaintenance    = "_node_maintenance"
)

// checks are those of an instance, and those that stand for what Consul has no other word for: maintenance and draining, and
// the word and lease of an instance that came through another face.
func (f *face) checks(i *wire.Instance, o origin, born bool, e serviceEntry, place queries.Place) []healthCheck {
	all := []healthCheck{}
	add := func(c healthCheck) {
		c.Node, c.ServiceID, c.ServiceName, c.ServiceTags = e.Node.Node, e.Service.ID, e.Service.Service, e.Service.Tags
		c.Namespace = i.Namespace
		all = append(all, c.placed(place))
	}
	if i.Traffic != domain.Serving && !withNode(i) {
		notes := "draining"
		if i.Traffic == domain.Maintenance {
			notes = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
			if i.Maintenance != nil && i.Maintenance.Reason != "" {
				notes = i.Maintenance.Reason
			}
		}
		add(healthCheck{CheckID: serviceMaintenance + e.Service.ID, Name: "Service Maintenance Mode", Status: critical, Notes: notes, Type: maintenance})
	}
	for _, c := range i.Checks {
		add(f.check(c, o.Checks[c.ID]))
	}
	written := o.Written
	if o.Imported != nil {
		written = append(slices.Clip(written), o.Imported.Checks...)
	}
	for _, c := range written {
		add(c.show())
	}
	said := cmp.Or(i.Reported, i.Status)
	switch {
	case len(i.Checks) > 0 && i.Reported == "":
		said = domain.Passing // the status is that of a check
	case len(written) > 0 && said == worst(written):
		return all // whoever judges the checks has said the status, too
	}
	lapsed := i.LapsedAt != nil
	if !born && len(i.Checks) == 0 || said != domain.Passing || lapsed {
		c := healthCheck{CheckID: "service:" + e.Service.ID, Name: "Service '" + i.Service + "' check", Status: statusOf(said), Type: "ttl"}
		switch {
		case lapsed:
			c.Status, c.Output = critical, "TTL expired"
		case said == domain.Starting:
			c.Output = "starting"
		}
		add(c)
	}
	return all
}

// placed is the check with the place of what it belongs to.
func (c healthCheck) placed(place queries.Place) healthCheck {
	c.CreateIndex, c.ModifyIndex = indexOf(place.Began), indexOf(place.Changed)
	if c.Definition == nil {
		c.Definition = json.RawMessage("{}")
	}
	return c
}

func (f *face) check(c wire.Check, o checkOrigin) healthCheck {
	h := healthCheck{
		CheckID: unescape(c.ID), Name: cmp.Or(c.Name, unescape(c.ID)), Status: statusOf(c.Status), Notes: c.Notes, Output: c.Output, Type: cmp.Or(o.Type, string(c.Kind)), Definition: o.Definition,
	}
	if h.Definition == nil {
		h.Definition = definitionOf(&c.Check)
	}
	if c.Kind.Probed() {
		h.Interval, h.Timeout = time.Duration(c.Interval).String(), time.Duration(c.Timeout).String()
	}
	return h
}

// definitionOf is how Consul's clients see the definition of a check that no registration of Consul's defined.
func definitionOf(c *domain.Check) json.RawMessage {
	kept := map[string]string{}
	add := func(name, value string) {
		if value != "" && value != "0s" {
			kept[name] = value
		}
	}
	add("TTL", time.Duration(c.TTL).String())
	add("Interval", time.Duration(c.Interval).String())
	add("Timeout", time.Duration(c.Timeout).String())
	add("DeregisterCriticalServiceAfter", time.Duration(c.RemoveAfter).String())
	add("HTTP", c.Concealed().URL)
	switch c.Kind {
	case domain.CheckTCP:
		add("TCP", c.Target)
	case domain.CheckGRPC:
		add("GRPC", c.Target)
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return nil
	}
	return b
}

// aggregate is the status of checks together.
func aggregate(checks []healthCheck) string {
	worst := passing
	for _, c := range checks {
		switch {
		case c.Type == maintenance || c.CheckID == nodeMaintenance || strings.HasPrefix(c.CheckID, serviceMaintenance):
			return maintenance
		case c.Status == critical:
			worst = critical
		case c.Status == warning && worst == passing:
			worst = warning
		}
	}
	return worst
}
