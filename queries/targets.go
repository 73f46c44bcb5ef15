package queries

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// TargetQuery asks for the targets of Prometheus' HTTP service discovery.
type TargetQuery struct {
	Namespace string // "" or AllNamespaces: every namespace
	Service   string // "": every service
	Port      string // the name of the port to scrape; "": metrics, or else http, or else the only port
	Filter    InstanceFilter
}

// Targets gives the scrape targets, in JSON: a group for each instance, in order of namespace, service and id, so that
// Prometheus does not restart what has not changed. An instance without the port is left out.
func (c *Catalog) Targets(ctx context.Context, q TargetQuery) (encoded.Form, error) {
	if q.Namespace == AllNamespaces {
		q.Namespace = ""
	}
	if q.Namespace != "" {
		if err := domain.ValidateLabel("ns", q.Namespace); err != nil {
			return encoded.Form{}, err
		}
	}
	if q.Service != "" {
		key := domain.ServiceKey{Namespace: domain.DefaultNamespace, Service: q.Service}
		if err := key.Validate(); err != nil {
			return encoded.Form{}, err
		}
	}
	name := "targets " + q.Namespace + "/" + q.Service + ":" + q.Port + " " + q.Filter.Text() + c.name()
	return c.made(ctx, name, func() encoded.Form {
		targets := []wire.ScrapeTarget{}
		for _, key := range c.catalog.Services(q.Namespace) {
			if q.Service != "" && key.Service != q.Service || c.Visible != nil && !c.Visible(key) {
				continue
			}
			view := c.catalog.View(key)
			filter, _ := c.given(view, q.Filter)
			for _, entry := range view.Entries {
				if !filter.match(entry) {
					continue
				}
				if target, ok := scrapeTarget(entry, q.Port); ok {
					targets = append(targets, target)
				}
			}
		}
		return encoded.Tagged(mustJSON(targets))
	})
}

func scrapeTarget(entry *catalog.Entry, portName string) (wire.ScrapeTarget, bool) {
	shown := Show(entry, nil)
	name, port := scrapePort(shown.Ports, portName)
	if name == "" {
		return wire.ScrapeTarget{}, false
	}
	labels := map[string]string{
		"namespace": shown.Namespace, "service": shown.Service, "id": shown.ID, "address": shown.Address,
		"port_name": name, "zone": shown.Zone, "version": shown.Version, "status": string(shown.Status),
		"traffic": string(shown.Traffic), "weight": strconv.Itoa(int(shown.Weight)), "epoch": strconv.FormatUint(shown.Epoch, 10),
		"tags": "",
	}
	if len(shown.Tags) > 0 { // a separator at both ends, so that a rule can match ",tag,"
		labels["tags"] = "," + strings.Join(shown.Tags, ",") + ","
	}
	keys := make([]string, 0, len(shown.Metadata))
	for key := range shown.Metadata {
		keys = append(keys, key)
	}
	slices.Sort(keys) // of two keys that become one label, the last one counts
	for _, key := range keys {
		labels["metadata_"+labelName(key)] = shown.Metadata[key]
	}
	prefixed := make(map[string]string, len(labels))
	for label, value := range labels {
		prefixed["__meta_rollcall_"+label] = value
	}
	host := strings.Trim(shown.Address, "[]")
	return wire.ScrapeTarget{Targets: []string{net.JoinHostPort(host, strconv.Itoa(int(port)))}, Labels: prefixed}, true
}

// scrapePort is the port to scrape and its name; "": the instance has none.
func scrapePort(ports map[string]uint16, wanted string) (name string, port uint16) {
	if wanted != "" {
		if port, ok := ports[wanted]; ok {
			return wanted, port
		}
		return "", 0
	}
	for _, usual := range []string{"metrics", "http"} {
		if port, ok := ports[usual]; ok {
			return usual, port
		}
	}
	if len(ports) == 1 {
		for name, port := range ports {
			return name, port
		}
	}
	return "", 0
}

// labelName makes a metadata key into a part of a label's name: every other character than a letter, a digit or _
// becomes _.
func labelName(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, key)
}
