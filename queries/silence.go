package queries

import (
	"net/url"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// maxSilence is the name of the parameter.
const maxSilence = "max_silence"

// lagOfMeasure is how far behind the event store a node may seem that is level with it.
const lagOfMeasure = 3 * time.Second

func parseMaxSilence(text string) (float64, error) {
	n, err := ParseDecimal(text)
	if err != nil || n < 1 {
		return 0, domain.InvalidField{Field: maxSilence, Rule: "must be a number of ttls, at least 1"}
	}
	return n, nil
}

// Why a filter by silence goes with nothing else that has to do with time.
const (
	silencePast    = "who was silent in the past is not kept"
	silenceChanges = "silence grows without a change; ask for the list again"
)

// CheckSilence refuses max_silence beside the parameters that it makes no sense with.
func (f InstanceFilter) CheckSilence(values url.Values) error {
	for _, with := range []struct{ name, why string }{{"at", silencePast}, {"index", silenceChanges}, {"wait", silenceChanges}} {
		if f.MaxSilence > 0 && values.Has(with.name) {
			return f.refuseSilence(with.name, with.why)
		}
	}
	return nil
}

func (f InstanceFilter) refuseSilence(with, why string) error {
	return domain.InvalidField{Field: maxSilence, Rule: "must not be used with " + with + ": " + why}
}

// heardUpTo is the moment up to which this node would know if an instance was heard: silence that the registry itself
// makes is no silence of the instances.
func (s *Service) heardUpTo() time.Time {
	now := s.Live.Now()
	if lag := s.Live.LagTime(); lag > lagOfMeasure { // heartbeats may be durable that are not applied yet
		now = now.Add(-lag)
	}
	if s.Listening == nil {
		return now
	}
	if from, _, deaf := s.Listening.DeafSince(); deaf && from.Before(now) {
		return from
	}
	return now
}

// heard leaves out the entries that were silent for longer than most times their ttl.
func (s *Service) heard(entries []*catalog.Entry, ttls float64) (heard []*catalog.Entry) {
	upTo := s.heardUpTo()
	for _, e := range entries {
		silence, ttl, known := s.Live.Leases().Silence(e.Key(), upTo)
		if !known || silence.Seconds() <= ttls*ttl.Seconds() {
			heard = append(heard, e)
		}
	}
	return heard
}
