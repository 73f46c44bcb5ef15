package commands

import (
	"context"
	"slices"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// Report carries out a report of a ttl check. A report that only renews the check costs what a heartbeat costs.
func (h *Heartbeats) Report(ctx context.Context, report domain.ReportCheck) Result {
	seen := h.service.progress.Position() // see TrySend
	entry := h.service.catalog().Find(report.Key)
	if entry == nil {
		return h.service.doOne(ctx, h.caller, Request{Command: report})
	}
	result, received, ok := decideRenewal(entry, &report)
	if !ok {
		return h.service.doOne(ctx, h.caller, Request{Command: report})
	}
	requests := addHeartbeat(nil, entry, &report.Key, seen, []eventstore.EventData{h.event(received)})
	appended, err := h.service.store.Append(ctx, nil, requests...)
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
// renew a check are carried out with one commit. Several checks of one instance may be among them. The results are appended
// to into.
func (h *Heartbeats) ReportAll(ctx context.Context, reports []domain.ReportCheck, into []Result) []Result {
	b := reportBatches.Get().(*reportBatch)
	b.begin(reports)
	from := len(into)
	into = append(into, make([]Result, len(reports))...)
	results := into[from:]
	seen := h.service.progress.Position() // see TrySend
	b.entries = h.service.catalog().FindAll(b.entries, b.keys)
	for i, entry := range b.entries {
		if entry == nil {
			b.undecided = append(b.undecided, i)
			continue
		}
		if first := b.seen.addCheck(entry, i, reports); first != i {
			results[i].Err = namedTwice(first)
			h.service.observe(Outcome{Command: anyReport, Err: results[i].Err, Times: 1})
			continue
		}
		result, received, ok := decideRenewal(entry, &reports[i])
		if !ok {
			b.undecided = append(b.undecided, i)
			continue
		}
		results[i] = result
		b.requests = addHeartbeat(b.requests, entry, &reports[i].Key, seen, b.event(h, received))
		b.sent = append(b.sent, i)
	}
	err := h.renewAll(ctx, b, reports, results)
	slices.Sort(b.undecided)
	others := make([]Request, len(b.undecided))
	for j, i := range b.undecided {
		others[j].Command = reports[i]
	}
	if len(others) > 0 {
		for j, r := range h.service.doAll(ctx, nil, h.caller, others, func(j int) int { return b.undecided[j] }) {
			results[b.undecided[j]] = r
		}
	}
	if err == nil {
		reportBatches.Put(b)
	}
	return into
}

// reportBatch holds the buffers of one call of ReportAll, as heartbeatBatch holds those of SendAll, with the same INVARIANT.
type reportBatch struct {
	keys      []domain.Key
	entries   []*catalog.Entry // one for each item; nil: the instance is not in the catalog
	undecided []int            // items that the catalog cannot decide, or whose append found the catalog behind
	seen      firstItems
	events    []eventstore.EventData // INVARIANT: it does not grow beyond its capacity, for requests point into it
	last      domain.HeartbeatReceived
	requests  []eventstore.AppendRequest
	sent      []int // sent[j] is the item of requests[j]
	appended  []eventstore.AppendResult
}

var reportBatches = sync.Pool{New: func() any { return new(reportBatch) }}

func (b *reportBatch) begin(reports []domain.ReportCheck) {
	b.keys, b.events = slices.Grow(b.keys[:0], len(reports)), slices.Grow(b.events[:0], len(reports))
	for i := range reports {
		b.keys = append(b.keys, reports[i].Key)
	}
	b.entries, b.undecided, b.requests, b.sent = b.entries[:0], b.undecided[:0], b.requests[:0], b.sent[:0]
	b.seen.begin(len(reports))
}

// event gives the event of a renewal. Equal renewals that follow each other share one event, as most do: an agent reports
// one check of many instances.
func (b *reportBatch) event(h *Heartbeats, received domain.HeartbeatReceived) []eventstore.EventData {
	if len(b.events) == 0 || b.last != received {
		b.events, b.last = append(b.events, h.event(received)), received
	}
	return b.events[len(b.events)-1:]
}

// renewAll appends renewals. What must be decided again joins the undecided items. The error is that of the store, which may
// still read the batch then.
func (h *Heartbeats) renewAll(ctx context.Context, b *reportBatch, reports []domain.ReportCheck, results []Result) error {
	if len(b.requests) == 0 {
		return nil
	}
	appended, err := h.service.store.Append(ctx, b.appended[:0], b.requests...)
	caughtUp := err == nil && h.service.awaitUntied(ctx, appended)
	renewed := 0
	for j, i := range b.sent {
		failed := err
		valid := false
		if failed == nil {
			noteStream(b.entries[i], &appended[j])
			if valid = appended[j].Err == nil && !appended[j].Untied; !valid { // few, as a rule
				valid, failed = h.service.accepted(ctx, b.entries[i], renewalBy(reports[i]), &appended[j], caughtUp)
			}
		}
		switch {
		case failed != nil:
			results[i] = Result{Err: failed}
			h.service.observe(Outcome{Command: anyReport, Err: failed, Times: 1})
		case valid:
			results[i].Position = appended[j].Position
			renewed++
		default:
			b.undecided = append(b.undecided, i)
		}
	}
	if renewed > 0 {
		h.service.observe(Outcome{Command: anyReport, Times: renewed})
	}
	if err == nil {
		b.appended = appended
	}
	return err
}

// decideRenewal decides a report on the catalog's entry of the instance. The result lacks its position. ok is false if the
// report does not only renew the check.
func decideRenewal(entry *catalog.Entry, report *domain.ReportCheck) (result Result, received domain.HeartbeatReceived, ok bool) {
	// A live instance has a legal key, and its checks have legal ids.
	if report.Status == domain.Starting || report.Owner != "" && report.Validate() != nil {
		return result, received, false
	}
	live := domain.Instance{Phase: domain.Registered, Epoch: entry.Epoch(), Checks: entry.Checks()} // the fields that decide
	if report.Owner != "" || report.Holder != "" {
		live.Owner = entry.Owner()
	}
	renews, _, err := live.Renewal(*report)
	if err != nil || !renews {
		return result, received, false
	}
	received = domain.HeartbeatReceived{Epoch: entry.Epoch(), Check: report.Check}
	return Result{Epoch: entry.Epoch(), Revision: entry.Revision()}, received, true
}
