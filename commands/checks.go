package commands

import (
	"context"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// Report carries out a report of a ttl check. A report that only renews the check costs what a heartbeat costs.
func (h *Heartbeats) Report(ctx context.Context, report domain.ReportCheck) Result {
	entry := h.service.catalog().Find(report.Key)
	if entry == nil {
		return h.service.doOne(ctx, h.caller, Request{Command: report})
	}
	result, received, ok := decideRenewal(entry, &report)
	if !ok {
		return h.service.doOne(ctx, h.caller, Request{Command: report})
	}
	request := appendHeartbeat(entry, report.Key, []eventstore.EventData{h.event(received)})
	appended, err := h.service.store.Append(ctx, nil, request)
	if err == nil {
		noteStream(entry, &appended[0])
		caughtUp := h.service.awaitUntied(ctx, appended)
		var valid bool
		valid, err = h.service.accepted(ctx, entry, renewalBy(report), &appended[0], caughtUp)
		if err == nil && !valid {
			return h.service.doOne(ctx, h.caller, Request{Command: report})
		}
	}
	if err != nil {
		result = Result{Err: err}
	} else {
		result.Position = appended[0].Position
	}
	h.service.observe(Outcome{Command: anyReport, Err: result.Err, Times: 1})
	return result
}

var anyReport domain.Command = domain.ReportCheck{}

// ReportAll carries out the reports of many ttl checks, and answers each by itself, in their order. The reports that only
// renew a check are carried out with one commit. Several checks of one instance may be among them.
func (h *Heartbeats) ReportAll(ctx context.Context, reports []domain.ReportCheck) []Result {
	results := make([]Result, len(reports))
	keys := make([]domain.Key, len(reports))
	for i := range reports {
		keys[i] = reports[i].Key
	}
	entries := h.service.catalog().FindAll(make([]*catalog.Entry, 0, len(keys)), keys)
	batch := renewals{events: make([]eventstore.EventData, 0, len(reports))}
	seen := make(map[renewedCheck]int, len(reports))
	requests := make([]eventstore.AppendRequest, 0, len(reports))
	var sent, undecided []int
	for i, entry := range entries {
		if entry == nil {
			undecided = append(undecided, i)
			continue
		}
		of := renewedCheck{entry, reports[i].Check}
		if first, twice := seen[of]; twice {
			results[i].Err = namedTwice(first)
			h.service.observe(Outcome{Command: anyReport, Err: results[i].Err, Times: 1})
			continue
		}
		seen[of] = i
		result, received, ok := decideRenewal(entry, &reports[i])
		if !ok {
			undecided = append(undecided, i)
			continue
		}
		results[i] = result
		requests = append(requests, appendHeartbeat(entry, reports[i].Key, batch.event(h, received)))
		sent = append(sent, i)
	}
	undecided = append(undecided, h.renewAll(ctx, reports, requests, entries, sent, results)...)
	slices.Sort(undecided)
	others := make([]Request, len(undecided))
	for j, i := range undecided {
		others[j].Command = reports[i]
	}
	if len(others) > 0 {
		for j, r := range h.service.doAll(ctx, h.caller, others, func(j int) int { return undecided[j] }) {
			results[undecided[j]] = r
		}
	}
	return results
}

// renewedCheck is a check of a live instance.
type renewedCheck struct {
	entry *catalog.Entry
	check string
}

// renewals make the events of a batch. Equal renewals that follow each other share one event, as most do: an agent reports
// one check of many instances.
type renewals struct {
	events []eventstore.EventData // INVARIANT: it does not grow beyond its capacity, for requests point into it
	last   domain.HeartbeatReceived
}

func (r *renewals) event(h *Heartbeats, received domain.HeartbeatReceived) []eventstore.EventData {
	if len(r.events) == 0 || r.last != received {
		r.events, r.last = append(r.events, h.event(received)), received
	}
	return r.events[len(r.events)-1:]
}

// renewAll appends renewals. It gives the items that must be decided again.
func (h *Heartbeats) renewAll(ctx context.Context, reports []domain.ReportCheck, requests []eventstore.AppendRequest, entries []*catalog.Entry, sent []int, results []Result) (lost []int) {
	if len(requests) == 0 {
		return nil
	}
	appended, err := h.service.store.Append(ctx, nil, requests...)
	caughtUp := err == nil && h.service.awaitUntied(ctx, appended)
	renewed := 0
	for j, i := range sent {
		failed := err
		valid := false
		if failed == nil {
			noteStream(entries[i], &appended[j])
			valid, failed = h.service.accepted(ctx, entries[i], renewalBy(reports[i]), &appended[j], caughtUp)
		}
		switch {
		case failed != nil:
			results[i] = Result{Err: failed}
			h.service.observe(Outcome{Command: anyReport, Err: failed, Times: 1})
		case valid:
			results[i].Position = appended[j].Position
			renewed++
		default:
			lost = append(lost, i)
		}
	}
	if renewed > 0 {
		h.service.observe(Outcome{Command: anyReport, Times: renewed})
	}
	return lost
}

// decideRenewal decides a report on the catalog's entry of the instance. The result lacks its position. ok is false if the
// report does not only renew the check.
func decideRenewal(entry *catalog.Entry, report *domain.ReportCheck) (result Result, received domain.HeartbeatReceived, ok bool) {
	// A live instance has a legal key, and its checks have legal ids.
	if report.Status == domain.Starting || report.Owner != "" && report.Validate() != nil {
		return result, received, false
	}
	live := domain.Instance{Phase: domain.Registered, Epoch: entry.Epoch, Checks: entry.Checks()} // the fields that decide
	if report.Owner != "" || report.Holder != "" {
		live.Owner = entry.Owner()
	}
	renews, _, err := live.Renewal(*report)
	if err != nil || !renews {
		return result, received, false
	}
	received = domain.HeartbeatReceived{Epoch: entry.Epoch, Check: report.Check}
	return Result{Epoch: entry.Epoch, Revision: entry.Revision()}, received, true
}
