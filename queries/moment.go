package queries

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Moment is a moment in the past. A client names it by a time (RFC 3339), a position, "5m ago" or "now".
type Moment struct {
	Position eventstore.Position // of the newest lifecycle event that had happened, or the position named
	Time     time.Time           // zero: a position was named
	Early    bool                // the moment is before the first event
}

// Moment reads a moment. field is the client's name for the parameter. A moment that is a time includes every event that
// was recorded up to the time.
func (s *Service) Moment(ctx context.Context, field, text string) (Moment, error) {
	return s.momentAt(ctx, field, text, s.Now())
}

// moments are the moments of both ends of a span.
func (s *Service) moments(ctx context.Context, from, to string) (begin, end Moment, err error) {
	now := s.Now()
	if begin, err = s.momentAt(ctx, "from", from, now); err == nil {
		end, err = s.momentAt(ctx, "to", to, now)
	}
	return begin, end, err
}

// momentAt is Moment with the time that is now, so that "now" and "5m ago" mean one moment for both ends of a span.
func (s *Service) momentAt(ctx context.Context, field, text string, now time.Time) (m Moment, err error) {
	position, at, err := parseMoment(field, text, now)
	if err != nil {
		return m, err
	}
	if at.IsZero() {
		m.Position, err = s.assigned(ctx, field, position)
		m.Early = m.Position == 0
		return m, err
	}
	if at.After(now) {
		return m, domain.InvalidField{Field: field, Rule: "must not be in the future"}
	}
	if err := s.historyUpToDate(ctx); err != nil {
		return m, err
	}
	m.Time = at
	m.Position, err = s.History.PositionAt(ctx, at)
	m.Early = m.Position == 0
	return m, err
}

// moment is momentAt for a moment that a client may leave out; nil: "".
func (s *Service) moment(ctx context.Context, field, text string, now time.Time) (*Moment, error) {
	if text == "" {
		return nil, nil
	}
	m, err := s.momentAt(ctx, field, text, now)
	return &m, err
}

// timeForm is the form of a time, which time.Parse does not hold to.
var timeForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// parseMoment reads a moment's text: a position, or a time that is not zero.
func parseMoment(field, text string, now time.Time) (p wire.Position, at time.Time, err error) {
	if p, err := wire.ParsePosition(field, text); err == nil {
		return p, time.Time{}, nil
	}
	if text == "now" {
		return p, now, nil
	}
	if ago, ok := strings.CutSuffix(text, " ago"); ok {
		if d, err := parseLength(strings.ReplaceAll(ago, " ", "")); err == nil {
			return p, now.Add(-d), nil
		}
	}
	// A + that was not escaped arrives as a space.
	text = strings.Replace(text, " ", "+", 1)
	if at, err := time.Parse(time.RFC3339, text); err == nil && timeForm.MatchString(text) {
		if at.IsZero() {
			at = at.Add(1) // the year 1 is before all events; the zero time means that a position was named
		}
		return p, at, nil
	}
	return p, at, domain.InvalidField{Field: field, Rule: `must be an RFC 3339 time, a position, "5m ago" or "now"`}
}

// after says whether m is later than n. Two times are compared as times, for there may be no event between them.
func (m *Moment) after(n *Moment) bool {
	if !m.Time.IsZero() && !n.Time.IsZero() {
		return m.Time.After(n.Time)
	}
	return m.Position > n.Position
}

// place is the moment in the form of the API.
func (m *Moment) place(timelines eventstore.Timelines) wire.Place {
	p := wire.Place{Position: at(timelines, m.Position)}
	if !m.Time.IsZero() {
		t := m.Time.UTC()
		p.Time = &t
	}
	p.Note = m.note()
	return p
}

// note is what replies say of the moment; "": nothing.
func (m *Moment) note() string {
	if m.Early {
		return "before the first event: nothing had been registered yet"
	}
	return ""
}
