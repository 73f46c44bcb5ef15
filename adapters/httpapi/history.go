package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Page sizes of histories.
const (
	defaultPage = 100
	maxPage     = 1000
)

func (a *api) allHistory(c echo.Context) error {
	q := history.Query{Namespace: c.QueryParam("ns")}
	if q.Namespace != "" {
		if err := domain.ValidateLabel("ns", q.Namespace); err != nil {
			return err
		}
	}
	return a.historyOf(c, q, nil)
}

func (a *api) serviceHistory(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	return a.historyOf(c, history.Query{Namespace: key.Namespace, Service: key.Service}, nil)
}

func (a *api) instanceHistory(c echo.Context) error {
	key, err := checkedKey(c)
	if err != nil {
		return err
	}
	return a.historyOf(c, history.Query{Namespace: key.Namespace, Service: key.Service, ID: key.ID}, &key)
}

func (a *api) historyOf(c echo.Context, q history.Query, instance *domain.Key) error {
	if err := a.historyUpToDate(c); err != nil {
		return err
	}
	if err := a.readHistoryQuery(c, &q); err != nil {
		return err
	}
	page := wire.HistoryPage{Position: wire.Position{Number: a.History.Position()}, Entries: []wire.HistoryEntry{}}
	found, err := a.History.Find(c.Request().Context(), q)
	if err != nil {
		return err
	}
	for i := range found.Entries {
		page.Entries = append(page.Entries, queries.ShowEntry(&found.Entries[i]))
	}
	if found.More {
		page.Next = cursor(found.Next, q.Newest)
	}
	if instance != nil && c.QueryParam("cursor") == "" {
		from, to, err := a.heartbeatTimes(c)
		if err != nil {
			return err
		}
		if page.Heartbeats, err = queries.HeartbeatHours(c.Request().Context(), a.History, *instance, from, to, a.Now()); err != nil {
			return err
		}
	}
	body, err := json.Marshal(page)
	if err != nil {
		return err
	}
	return answer(c, encoded.Tagged(body))
}

// readHistoryQuery reads from, to, actor, type, via, reason, order, limit and cursor.
func (a *api) readHistoryQuery(c echo.Context, q *history.Query) (err error) {
	for name := range c.QueryParams() {
		switch name {
		case "ns", "after", "from", "to", "actor", "type", "via", "reason", "order", "limit", "cursor":
		default:
			return invalidField(name, "is not a known filter")
		}
	}
	q.Actor, q.Via, q.Reason = c.QueryParam("actor"), c.QueryParam("via"), c.QueryParam("reason")
	if q.Types, err = eventTypes(c); err != nil {
		return err
	}
	if q.After, q.Before, err = a.span(c); err != nil {
		return err
	}
	switch order := c.QueryParam("order"); order {
	case "", "newest":
		q.Newest = true
	case "oldest":
	default:
		return invalidField("order", "must be newest or oldest")
	}
	limit, err := intParam(c, "limit", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	q.Limit = int(limit)
	return followCursor(c, q)
}

// span is what ?from= and ?to= take in: every event after one position and before another (0: no
// bound). Both ends are included: from a time on, up to a time, from a position on, up to a position.
func (a *api) span(c echo.Context) (after, before eventstore.Position, err error) {
	from, err := a.bound(c, "from")
	if err != nil {
		return 0, 0, err
	}
	to, err := a.bound(c, "to")
	if err != nil {
		return 0, 0, err
	}
	if from != nil && to != nil && from.after(to) {
		return 0, 0, invalidField("from", "must not be after to")
	}
	switch {
	case from == nil:
	case from.time.IsZero():
		after = max(from.position, 1) - 1
	default:
		if after, err = a.History.PositionAt(c.Request().Context(), from.time.Add(-1)); err != nil {
			return 0, 0, err
		}
	}
	if to != nil {
		before = to.position + 1
	}
	return after, before, nil
}

// bound is the moment that a parameter names, nil when it is left out.
func (a *api) bound(c echo.Context, field string) (*moment, error) {
	s := c.QueryParam(field)
	if s == "" {
		return nil, nil
	}
	m, err := a.parseMoment(c, field, s)
	return &m, err
}

// after says whether m is later than n. Two times are compared as times: between them there may be
// no event.
func (m *moment) after(n *moment) bool {
	if !m.time.IsZero() && !n.time.IsZero() {
		return m.time.After(n.time)
	}
	return m.position > n.position
}

var knownTypes = append(slices.Clone(domain.LifecycleTypes), domain.TypeHeartbeatReceived, domain.TypeSelfPreservationStarted, domain.TypeSelfPreservationEnded,
	domain.TypeWebhookCreated, domain.TypeWebhookPaused, domain.TypeWebhookResumed, domain.TypeWebhookReplayed, domain.TypeWebhookDeleted)

func eventTypes(c echo.Context) (types []string, err error) {
	for _, v := range c.QueryParams()["type"] {
		for t := range strings.SplitSeq(v, ",") {
			if !slices.Contains(knownTypes, t) {
				return nil, invalidField("type", "must be one of "+strings.Join(knownTypes, ", "))
			}
			types = append(types, t)
		}
	}
	return types, nil
}

// A cursor names the last entry of a page. What is appended later moves no page.
func cursor(last eventstore.Position, newest bool) string {
	direction := byte('o')
	if newest {
		direction = 'n'
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{direction}, uint64(last)))
}

func followCursor(c echo.Context, q *history.Query) error {
	s := c.QueryParam("cursor")
	if s == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 9 || b[0] != 'o' && b[0] != 'n' {
		return invalidField("cursor", "must be one that a page gave as next")
	}
	if (b[0] == 'n') != q.Newest {
		return invalidField("cursor", "must be used with the order of the page that gave it")
	}
	last := eventstore.Position(binary.BigEndian.Uint64(b[1:]))
	if q.Newest {
		if last == 0 {
			return invalidField("cursor", "must be one that a page gave as next")
		}
		if q.Before == 0 || last < q.Before {
			q.Before = last
		}
	} else {
		q.After = max(q.After, last)
	}
	return nil
}

// heartbeatTimes are the bounds of the summaries: those of from and to where these are times.
func (a *api) heartbeatTimes(c echo.Context) (from, to time.Time, err error) {
	for name, into := range map[string]*time.Time{"from": &from, "to": &to} {
		s := c.QueryParam(name)
		if _, err := strconv.ParseUint(s, 10, 64); s == "" || err == nil {
			continue
		}
		if *into, err = parseTime(name, s, a.Now()); err != nil {
			return from, to, err
		}
	}
	return from, to, nil
}

// gone says what became of an instance that is not in the catalog, or was not at a position (0: now).
func (a *api) gone(c echo.Context, key domain.Key, at eventstore.Position) error {
	if at == 0 {
		if err := a.historyUpToDate(c); err != nil {
			return err
		}
	}
	q := history.Query{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Newest: true, Limit: 1}
	if at > 0 {
		q.Before = at + 1
	}
	page, err := a.History.Find(c.Request().Context(), q)
	if err != nil {
		return err
	}
	entries := page.Entries
	if len(entries) == 0 || entries[0].Type != domain.TypeInstanceDeregistered && entries[0].Type != domain.TypeLeaseExpired {
		return domain.UnknownInstance{Key: key}
	}
	last := queries.ShowEntry(&entries[0])
	p := problem(http.StatusGone, "instance-gone", "The instance is not there any more",
		"instance "+key.String()+" is gone: "+last.Summary+" ("+last.RecordedAt.Format(time.RFC3339)+", by "+last.Actor+")")
	p.Event = &last
	p.History = "/v1/services/" + key.Service + "/instances/" + key.ID + "/history"
	if key.Namespace != domain.DefaultNamespace {
		p.History += "?ns=" + key.Namespace
	}
	return p
}
