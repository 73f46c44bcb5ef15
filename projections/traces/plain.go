package traces

import (
	"cmp"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/plain"
)

// reading reads registrations and updates without checks, without decoding JSON. That takes a tenth of the time, and the history
// does it for each event.
type reading struct{ plain.Reader }

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

// details reads the details of a step, to the end of the data. status is the one that they name.
func (p *reading) details(d *Details) (status Status) {
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
	d.Zone, d.Version = string(p.field(`,"zone":`)), string(p.field(`,"version":`))
	p.Need(`,"weight":`)
	p.Number(1<<16 - 1)
	status = statusOf(domain.Status(p.field(`,"status":`)))
	p.duration(`,"ttl":`, true)
	p.field(`,"on_lapse":`)
	p.duration(`,"remove_after":`, false)
	p.Failed = !p.Ended() || status == 0
	return status
}

func plainRegistered(data []byte) (s Step, ok bool) {
	p := reading{plain.Reader{Rest: data}}
	s = Step{Kind: Registered, New: new(Details)}
	p.Need(`{"epoch":`)
	s.New.Begins = p.Number(1<<63 - 1)
	s.New.Owner = string(p.field(`,"owner":`))
	if p.Literal(`,"replaces":`) {
		p.Number(1<<63 - 1)
	}
	reported := p.field(`,"reported":`)
	s.Status = p.details(s.New)
	if reported != nil {
		s.Status = statusOf(domain.Status(reported))
		p.Failed = p.Failed || s.Status == 0
	}
	s.Says = s.Status
	return s, !p.Failed
}

func plainUpdated(data []byte) (s Step, ok bool) {
	p := reading{plain.Reader{Rest: data}}
	s = Step{Kind: Updated, New: new(Details)}
	p.Need(`{"epoch":`)
	p.Number(1<<63 - 1)
	s.New.Owner = string(p.field(`,"owner":`))
	p.Need(`,"changed":[`)
	changed := false
	p.list("]", func() { changed = string(p.Text()) == "status" || changed })
	p.field(`,"previous_status":`)
	said := p.field(`,"reported":`)
	reported := statusOf(domain.Status(said))
	p.Failed = p.Failed || said != nil && reported == 0
	status := p.details(s.New)
	if changed {
		s.Says = status
	}
	s.Says = cmp.Or(reported, s.Says)
	return s, !p.Failed
}
