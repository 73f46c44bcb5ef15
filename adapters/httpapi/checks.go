package httpapi

import (
	"fmt"
	"slices"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// check is a check in a body. A field that the body leaves out gets its default.
type check struct {
	ID    string           `json:"id"`
	Name  string           `json:"name"`
	Kind  domain.CheckKind `json:"kind"`
	Notes string           `json:"notes"`

	TTL *duration `json:"ttl"`

	URL              string               `json:"url"`
	Method           string               `json:"method"`
	Headers          map[string]string    `json:"headers"`
	Body             string               `json:"body"`
	ExpectedStatuses []domain.StatusRange `json:"expected_statuses"`
	WarningStatuses  []domain.StatusRange `json:"warning_statuses"`
	FollowRedirects  bool                 `json:"follow_redirects"`

	Port        string `json:"port"`
	Target      string `json:"target"`
	GRPCService string `json:"grpc_service"`

	TLS           bool   `json:"tls"`
	TLSServerName string `json:"tls_server_name"`
	TLSSkipVerify bool   `json:"tls_skip_verify"`

	Interval  *duration `json:"interval"`
	Timeout   *duration `json:"timeout"`
	Failures  *int      `json:"failures"`
	Successes *int      `json:"successes"`

	InitialStatus *domain.Status `json:"initial_status"`
	RemoveAfter   *duration      `json:"remove_after"`
}

// duration is a duration as the body has it. It is read later, so that an error names the field.
type duration string

// read reads a duration that the body has. 0 in a body is no default.
func (d *duration) read(field string) (domain.Duration, error) {
	if d == nil || *d == "" {
		return 0, nil
	}
	read, err := domain.ParseDuration(string(*d))
	if err != nil || read == 0 {
		return 0, invalidField(field, `must be a duration above 0 such as "30s" or "5m"`)
	}
	return domain.Duration(read), nil
}

// definition is the check that the body describes. at comes before the names of fields.
func (c check) definition(at string) (d domain.Check, err error) {
	d = domain.Check{
		ID: c.ID, Name: c.Name, Kind: c.Kind, Notes: c.Notes, URL: c.URL, Method: c.Method, Headers: c.Headers, Body: c.Body,
		ExpectedStatuses: c.ExpectedStatuses, WarningStatuses: c.WarningStatuses, FollowRedirects: c.FollowRedirects, Port: c.Port, Target: c.Target, GRPCService: c.GRPCService,
		TLS: c.TLS, TLSServerName: c.TLSServerName, TLSSkipVerify: c.TLSSkipVerify,
	}
	for _, f := range [...]struct {
		name  string
		given *duration
		into  *domain.Duration
	}{{"ttl", c.TTL, &d.TTL}, {"interval", c.Interval, &d.Interval}, {"timeout", c.Timeout, &d.Timeout}, {"remove_after", c.RemoveAfter, &d.RemoveAfter}} {
		if *f.into, err = f.given.read(at + f.name); err != nil {
			return d, err
		}
	}
	for _, f := range [...]struct {
		name  string
		given *int
		into  *int
	}{{"failures", c.Failures, &d.Failures}, {"successes", c.Successes, &d.Successes}} {
		if f.given == nil {
			continue
		}
		if *f.into = *f.given; *f.given < 1 {
			return d, invalidField(at+f.name, fmt.Sprintf("must be 1-%d", domain.MaxThreshold))
		}
	}
	if c.InitialStatus != nil {
		if d.InitialStatus = *c.InitialStatus; d.InitialStatus == "" {
			return d, d.InitialStatus.Validate(at + "initial_status")
		}
	}
	return d, nil
}

// definitions are the checks of a registration; nil: the body names none.
func definitions(checks []check) (all []domain.Check, err error) {
	if checks == nil {
		return nil, nil
	}
	all = make([]domain.Check, len(checks))
	for i, c := range checks {
		if all[i], err = c.definition(fmt.Sprintf("checks[%d].", i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// addedCheck is the body of PUT …/checks/:check.
type addedCheck struct {
	check
	Epoch uint64 `json:"epoch"`
	Owner string `json:"owner"`
}

func (b addedCheck) command(key domain.Key) (domain.Command, error) {
	c, err := b.definition("")
	return domain.AddCheck{Key: key, Epoch: b.Epoch, Owner: b.Owner, Check: c}, err
}

func (a *api) addCheck(c echo.Context) error {
	var body addedCheck
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	id := pathPart(c, "check")
	if body.ID != "" && body.ID != id {
		return invalidField("id", "must be left out, or be the path's")
	}
	body.ID = id
	add, err := body.command(instanceKey(c))
	if err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: add})
}

func (a *api) removeCheck(c echo.Context) error {
	precondition, err := queryPrecondition(c)
	if err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: domain.RemoveCheck{Key: instanceKey(c), Epoch: precondition.Epoch, Owner: precondition.Owner, Check: pathPart(c, "check")}})
}

// checkReport is the body of POST …/checks/:check/pass, warn and fail, which may be left out.
type checkReport struct {
	Output string `json:"output"`
	Epoch  uint64 `json:"epoch"`
	Owner  string `json:"owner"`
}

func (a *api) passCheck(c echo.Context) error { return a.reportCheck(c, domain.Passing) }
func (a *api) warnCheck(c echo.Context) error { return a.reportCheck(c, domain.Warning) }
func (a *api) failCheck(c echo.Context) error { return a.reportCheck(c, domain.Critical) }

func (a *api) reportCheck(c echo.Context, status domain.Status) error {
	var body checkReport
	if err := decodeBody(c, &body, true); err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: domain.ReportCheck{
		Key: instanceKey(c), Epoch: body.Epoch, Owner: body.Owner, Check: pathPart(c, "check"), Status: status, Output: body.Output,
	}})
}

// reportItem is an item of POST /v1/check-reports.
type reportItem struct {
	Namespace string        `json:"namespace"` // default: the request's
	Service   string        `json:"service"`
	ID        string        `json:"id"`
	Check     string        `json:"check"`
	Status    domain.Status `json:"status"` // default: passing
	checkReport
}

func (i *reportItem) command() domain.ReportCheck {
	if i.Status == "" {
		i.Status = domain.Passing
	}
	return domain.ReportCheck{
		Key: domain.Key{Namespace: i.Namespace, Service: i.Service, ID: i.ID}, Epoch: i.Epoch, Owner: i.Owner, Check: i.Check, Status: i.Status, Output: i.Output,
	}
}

// checkReports carries out many reports of ttl checks. Each gets a result of its own.
func (a *api) checkReports(c echo.Context) error {
	body, err := readBody(c, MaxBatchBody)
	if err != nil {
		return err
	}
	buffers := reportBuffersPool.Get().(*reportBuffers)
	defer reportBuffersPool.Put(buffers)
	if err := buffers.read(c, body); err != nil {
		return err
	}
	web.Charge(c, web.Requests, max(len(buffers.items)-1, 0)) // one is counted already
	buffers.keepAllowed(web.IdentityOf(c), namespace(c))
	buffers.results = a.Commands.Heartbeats(caller(c)).ReportAll(c.Request().Context(), buffers.reports, buffers.results[:0])
	return a.answerBatch(c, buffers.refused, func(b []byte, i int) []byte { return appendKey(b, &buffers.reports[i].Key) }, buffers.results)
}

// reportBuffers hold a batch of reports from the request's body to the reply. A pool keeps them for later requests. The
// handler owns the buffers from Get to Put, and the reply is written by then.
type reportBuffers struct {
	items   []reportItem
	refused []error              // one for each item; nil: the item is not refused
	reports []domain.ReportCheck // of the items that are not refused
	results []commands.Result
}

var reportBuffersPool = sync.Pool{New: func() any { return new(reportBuffers) }}

// read reads the items of a body. An item that is wrong is refused, and the other items are kept.
func (b *reportBuffers) read(c echo.Context, body []byte) (err error) {
	b.refused = b.refused[:0]
	ok := false
	if !isLines(c) {
		b.items, ok = plainReports(b.items[:0], string(body))
	}
	if ok {
		b.refused = slices.Grow(b.refused, len(b.items))[:len(b.items)]
		clear(b.refused)
		return nil
	}
	split, err := items(c, body)
	if err != nil {
		return err
	}
	b.items = slices.Grow(b.items[:0], len(split))[:len(split)]
	clear(b.items)
	for i, item := range split {
		b.refused = append(b.refused, DecodeStrict(item, &b.items[i]))
	}
	return nil
}

// keepAllowed makes the reports that the caller may give. ns is the namespace of an item that names none.
func (b *reportBuffers) keepAllowed(who *web.Identity, ns string) {
	b.reports = slices.Grow(b.reports[:0], len(b.items))
	for i := range b.items {
		if b.refused[i] != nil {
			continue
		}
		item := &b.items[i]
		if item.Namespace == "" {
			item.Namespace = ns
		}
		report := item.command()
		if who.Controlled() {
			if report.Holder, b.refused[i] = who.Holder(domain.WriteInstances, report.Key); b.refused[i] != nil {
				continue
			}
		}
		b.reports = append(b.reports, report)
	}
}

// serviceChecks lists the checks of a service's instances.
func (a *api) serviceChecks(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	statuses, err := queries.ParseStatuses(c.QueryParams()["status"])
	if err != nil {
		return err
	}
	id := c.QueryParam("instance")
	if id != "" {
		if err := (domain.Key{Namespace: key.Namespace, Service: key.Service, ID: id}).Validate(); err != nil {
			return invalidField("instance", "must be the id of an instance")
		}
	}
	list, err := a.Queries.ServiceChecks(c.Request().Context(), key, id, statuses)
	if err != nil {
		return err
	}
	return answerJSON(c, list)
}
