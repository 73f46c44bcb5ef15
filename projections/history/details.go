package history

import (
	"context"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// details finds the details before updates. On a page with the newest first, the updates of an instance share one scan, because
// each of them needs what is before the one that the page had before.
type details struct {
	h       *History
	entries *entries // of the page
	newest  bool     // the page has the newest first

	scan   *scan                     // of the registrations and updates of stream, newest first; nil: there is none
	stream eventstore.StreamName     // of the update that was looked at last
	found  *eventstore.RecordedEvent // what scan gave last; nil: nothing yet
}

var detailTypes = []string{domain.TypeInstanceRegistered, domain.TypeInstanceUpdated}

// before is the registration or update before an update; nil: it is too far away. It adds its cost to cost.
func (d *details) before(ctx context.Context, e *Entry, cost *int) (*eventstore.RecordedEvent, error) {
	if d.scan == nil || !d.newest || d.stream != e.Stream {
		if err := d.begin(ctx, e); err != nil || d.scan == nil {
			return nil, err
		}
	}
	d.scan.cost = maxCost - detailsCost
	defer func() { *cost += d.scan.cost - (maxCost - detailsCost) + entryCost + decodeCost }()
	for d.found == nil || d.found.Position >= e.Position {
		d.found = nil
		if !d.scan.next() {
			d.stream = "" // a scan that was stopped cannot go on
			return nil, d.scan.err
		}
		found, err := d.entries.get(d.scan.at)
		if err != nil {
			return nil, err
		}
		event, err := parseEvent(found)
		if err != nil {
			return nil, err
		}
		if slices.Contains(detailTypes, event.Type) {
			d.found = &event
		}
	}
	return d.found, nil
}

// begin begins the scan before an update.
func (d *details) begin(ctx context.Context, e *Entry) error {
	err := d.close()
	d.scan, d.found, d.stream = nil, nil, e.Stream
	if key, ok := e.Stream.InstanceKey(); ok {
		q := Query{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Before: e.Position, Newest: true, Types: detailTypes}
		d.scan = d.h.scan(ctx, &q)
	}
	return err
}

func (d *details) close() error {
	if d.scan == nil {
		return nil
	}
	return d.scan.close()
}
