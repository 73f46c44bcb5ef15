package queries

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Page sizes of histories.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// HistoryQuery picks entries of the history, and a page of them.
type HistoryQuery struct {
	Selection        // the history has no heartbeats; the page of an instance has their sums by hour
	Webhook   string // the id of a webhook, for the webhook's history; Selection is zero then
	From, To  string // moments; "": no bound
	Actor     string
	Via       string
	Secrets   Secrets
	Reason    string // text that the reason or the output contains
	Order     string // "newest" first, which is the default, or "oldest"
	Limit     string // "": DefaultPage
	Cursor    string // Next of the previous page
}

// HistoryPage gives a page of the history.
func (s *Service) HistoryPage(ctx context.Context, q HistoryQuery) (page wire.HistoryPage, err error) {
	if err := s.historyUpToDate(ctx); err != nil {
		return page, err
	}
	find, err := s.readHistoryQuery(ctx, q)
	if err != nil {
		return page, err
	}
	page = wire.HistoryPage{Position: s.At(s.History.Position()), Entries: []wire.HistoryEntry{}}
	found, err := s.History.Find(ctx, find)
	if err != nil {
		return page, err
	}
	if len(found.Entries) == 0 && q.Cursor == "" {
		if err := s.refuseNever(ctx, &q, &find); err != nil {
			return page, err
		}
	}
	page.Entries = make([]wire.HistoryEntry, 0, len(found.Entries))
	for i := range found.Entries {
		page.Entries = append(page.Entries, ShowEntry(s.Timelines(), q.Secrets.entry(&found.Entries[i])))
	}
	if found.More {
		page.Next = s.cursor(found.Next, find.Newest)
	}
	if q.Instance != "" && q.Cursor == "" {
		key := domain.Key{Namespace: find.Namespace, Service: q.Service, ID: q.Instance}
		from, to := s.hours(q.From), s.hours(q.To)
		newest := history.Page{}
		if find.AllNewest() {
			newest = found
		}
		page.Heartbeats, err = heartbeatHours(ctx, s.History, key, newest, from, to, s.Now())
	}
	return page, err
}

// refuseNever refuses the history of an instance, a service or a webhook that never was: an empty page would say that nothing
// happened to it.
func (s *Service) refuseNever(ctx context.Context, q *HistoryQuery, find *history.Query) error {
	var never error
	switch {
	case q.Webhook != "":
		never = domain.UnknownWebhook{ID: q.Webhook}
	case q.Instance != "":
		never = domain.UnknownInstance{Key: domain.Key{Namespace: find.Namespace, Service: q.Service, ID: q.Instance}}
	case q.Service != "":
		never = UnknownService{domain.ServiceKey{Namespace: find.Namespace, Service: q.Service}}
	default:
		return nil
	}
	any, err := s.History.Find(ctx, history.Query{Namespace: find.Namespace, Service: find.Service, ID: find.ID, Stream: find.Stream, Limit: 1})
	if err != nil || len(any.Entries) > 0 || any.More {
		return err
	}
	return never
}

func (s *Service) readHistoryQuery(ctx context.Context, q HistoryQuery) (find history.Query, err error) {
	if err := q.refuseImpossibleTypes(); err != nil {
		return find, err
	}
	find = history.Query{
		Namespace: q.Namespace, Service: q.Service, ID: q.Instance, Actor: q.Actor, Via: q.Via, Reason: q.Reason, Types: q.Types,
	}
	if q.Visible != nil {
		find.Visible = q.Visible.stream
	}
	if q.Service != "" && q.Namespace == "" {
		find.Namespace = domain.DefaultNamespace
	}
	if q.Via != "" && !slices.Contains(domain.Vias(), q.Via) {
		return find, domain.InvalidField{Field: "via", Rule: "must be one of " + strings.Join(domain.Vias(), ", ")}
	}
	if q.Webhook != "" {
		find.Stream = eventstore.WebhookStream(q.Webhook)
	}
	span, err := s.Span(ctx, q.From, q.To)
	if err != nil {
		return find, err
	}
	if find.After, find.Before, err = s.positions(ctx, span); err != nil {
		return find, err
	}
	switch q.Order {
	case "", "newest":
		find.Newest = true
	case "oldest":
	default:
		return find, domain.InvalidField{Field: "order", Rule: "must be newest or oldest"}
	}
	limit, err := ParseNumber("limit", q.Limit, DefaultPage, 1, MaxPage)
	if err != nil {
		return find, err
	}
	find.Limit = int(limit)
	return find, s.followCursor(q.Cursor, &find)
}

// refuseImpossibleTypes refuses types of which the history has no events.
func (q *HistoryQuery) refuseImpossibleTypes() error {
	if err := q.Validate(); err != nil {
		return err
	}
	for _, t := range q.Types {
		switch {
		case t == domain.TypeHeartbeatReceived:
			return domain.InvalidField{Field: "type", Rule: "must not be " + t + ": an instance's history sums heartbeats up, and /v1/events has each of them"}
		case q.Webhook != "" && !slices.Contains(webhookTypes, t):
			return domain.InvalidField{Field: "type", Rule: "must be a type of webhooks' events, not " + t}
		}
	}
	return nil
}

// hours is the bound of the sums of heartbeats: the moment's time, or no bound.
func (s *Service) hours(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	_, at, err := parseMoment("", text, s.Now())
	if err != nil {
		return time.Time{} // readHistoryQuery has refused the moment
	}
	return at
}

// cursor names the last position that a page has read, with its timeline. Later events do not change a page.
func (s *Service) cursor(last eventstore.Position, newest bool) string {
	direction := byte('o')
	if newest {
		direction = 'n'
	}
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint64([]byte{direction}, uint64(last)), s.Timelines().Of(last)...))
}

func (s *Service) followCursor(text string, q *history.Query) error {
	if text == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 9 || b[0] != 'o' && b[0] != 'n' {
		return domain.InvalidField{Field: "cursor", Rule: "must be one that a page gave as next"}
	}
	if (b[0] == 'n') != q.Newest {
		return domain.InvalidField{Field: "cursor", Rule: "must be used with the order of the page that gave it"}
	}
	last, err := s.number(wire.Position{Timeline: string(b[9:]), Number: eventstore.Position(binary.BigEndian.Uint64(b[1:]))})
	if err != nil {
		return err
	}
	if q.Newest {
		if last == 0 {
			return domain.InvalidField{Field: "cursor", Rule: "must be one that a page gave as next"}
		}
		if q.Before == 0 || last < q.Before {
			q.Before = last
		}
	} else {
		q.After = max(q.After, last)
	}
	return nil
}
