package traces

import (
	"cmp"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/plain"
)

// reading reads registrations and updates without checks, and changes of health and traffic, without decoding JSON. That takes a tenth
// of the time, and the history does it for each event.
type reading struct {
	plain.Reader
	newest *Details // of an event before; nil: there is none
}

// field reads a text field that may be left out.
func (p *reading) field(name string) []byte {
	if !p.Literal(name) {
		return nil
	}
	return p.Text()
}

// list passes over the elements of an array or an object, up to its end.
func (p *reading) list(end string, element func()) {
	for first := true; !p.Failed && !p.Literal(end); first = false {
		if !first {
			p.Need(",")
		}
		element()
	}
}

func (p *reading) duration(name string, must bool) {
	if !p.Literal(name) {
		p.Failed = p.Failed || must
		return
	}
	var d domain.Duration
	p.Failed = d.UnmarshalText(p.Text()) != nil || p.Failed
}

// same is a text, in the memory of an equal one before.
func same(before string, text []byte) string {
	if before == string(text) {
		return before
	}
	return string(text)
}

// details reads the details of a step, to the end of the data. status is the one that they name. Details that are those of the event
// before are the same in memory, too.
func (p *reading) details(begins uint64, owner []byte) (d *Details, status Status) {
	p.Need(`,"address":`)
	p.Text()
	if p.Literal(`,"ports":{`) {
		p.list("}", func() {
			p.Text()
			p.Need(":")
			p.Number(1<<16 - 1)
		})
	}
	if p.Literal(`,"tags":[`) {
		p.list("]", func() { p.Text() })
	}
	if p.Literal(`,"metadata":{`) {
		p.list("}", func() {
			p.Text()
			p.Need(":")
			p.Text()
		})
	}
	zone, version := p.field(`,"zone":`), p.field(`,"version":`)
	p.Need(`,"weight":`)
	p.Number(1<<16 - 1)
	status = statusOf(domain.Status(p.field(`,"status":`)))
	p.duration(`,"ttl":`, true)
	p.field(`,"on_lapse":`)
	p.duration(`,"remove_after":`, false)
	if p.Failed = !p.Ended() || status == 0; p.Failed {
		return nil, 0
	}
	was := p.newest
	switch {
	case was == nil:
		return &Details{begins, string(owner), string(zone), string(version)}, status
	case was.Begins == begins && was.Owner == string(owner) && was.Zone == string(zone) && was.Version == string(version):
		return was, status
	}
	return &Details{begins, same(was.Owner, owner), same(was.Zone, zone), same(was.Version, version)}, status
}

func (p *reading) registered() (s Step) {
	s.Kind = Registered
	p.Need(`{"epoch":`)
	begins := p.Number(1<<63 - 1)
	owner := p.field(`,"owner":`)
	if p.Literal(`,"replaces":`) {
		p.Number(1<<63 - 1)
	}
	reported := p.field(`,"reported":`)
	s.New, s.Status = p.details(begins, owner)
	if reported != nil {
		s.Status = statusOf(domain.Status(reported))
		p.Failed = p.Failed || s.Status == 0
	}
	s.Says = s.Status
	return s
}

func (p *reading) updated() (s Step) {
	s.Kind = Updated
	p.Need(`{"epoch":`)
	p.Number(1<<63 - 1)
	owner := p.field(`,"owner":`)
	p.Need(`,"changed":[`)
	changed := false
	p.list("]", func() { changed = string(p.Text()) == "status" || changed })
	p.field(`,"previous_status":`)
	said := p.field(`,"reported":`)
	reported := statusOf(domain.Status(said))
	p.Failed = p.Failed || said != nil && reported == 0
	details, status := p.details(0, owner)
	s.New = details
	if changed {
		s.Says = status
	}
	s.Says = cmp.Or(reported, s.Says)
	return s
}

// health reads a change of health in which neither a lapse nor a check had a part.
func (p *reading) health() (s Step) {
	s.Kind = Health
	p.Need(`{"epoch":`)
	p.Number(1<<63 - 1)
	p.Need(`,"from":`)
	p.Text()
	p.Need(`,"to":`)
	s.Status = statusOf(domain.Status(p.Text()))
	p.Need(`,"source":`)
	s.Lease = string(p.Text()) == string(domain.FromLease)
	p.field(`,"output":`)
	s.Says = s.Status
	p.Failed = !p.Ended() || s.Status == 0
	return s
}

func (p *reading) traffic() (s Step) {
	s.Kind = Traffic
	p.Need(`{"epoch":`)
	p.Number(1<<63 - 1)
	p.Need(`,"from":`)
	p.Text()
	p.Need(`,"to":`)
	to := domain.Traffic(p.Text())
	s.Traffic = trafficOf(to)
	p.field(`,"reason":`)
	p.Failed = !p.Ended() || s.Traffic.Name() != to
	return s
}
