package domain

import (
	"math"

	"github.com/rollcall-registry/rollcall/domain/plain"
)

// Changes of health and of traffic are read without decoding JSON (plain.Reader), because a log has many of them.

// statuses and traffics are the texts of the values, so that an event allocates none.
var (
	statuses = []Status{Starting, Passing, Warning, Critical}
	traffics = []Traffic{Serving, Draining, Maintenance}
	sources  = []HealthSource{FromClient, FromLease}
)

func oneOf[S ~string](known []S, text []byte) S {
	for _, s := range known {
		if string(s) == string(text) {
			return s
		}
	}
	return S(text)
}

func plainHealth(data []byte) (e HealthChanged, ok bool) {
	p := plain.Reader{Data: data}
	p.Need(`{"epoch":`)
	e.Epoch = p.Number(math.MaxUint64)
	p.Need(`,"from":`)
	e.From = oneOf(statuses, p.Text())
	p.Need(`,"to":`)
	e.To = oneOf(statuses, p.Text())
	p.Need(`,"source":`)
	e.Source = oneOf(sources, p.Text())
	if p.Literal(`,"output":`) {
		e.Output = string(p.Text())
	}
	return e, p.Ended()
}

func plainTraffic(data []byte) (e TrafficChanged, ok bool) {
	p := plain.Reader{Data: data}
	p.Need(`{"epoch":`)
	e.Epoch = p.Number(math.MaxUint64)
	p.Need(`,"from":`)
	e.From = oneOf(traffics, p.Text())
	p.Need(`,"to":`)
	e.To = oneOf(traffics, p.Text())
	if p.Literal(`,"reason":`) {
		e.Reason = string(p.Text())
	}
	return e, p.Ended()
}
