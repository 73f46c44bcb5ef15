package traces

import (
	"bytes"
	"cmp"
	"strconv"

	"github.com/rollcall-registry/rollcall/domain"
)

// plain reads registrations and updates in exactly the form in which domain.Encode writes them, as long as their texts are plain ASCII
// without escapes, and there are no checks. That takes a tenth of the time of decoding, and the history does it for each event.
//
// INVARIANT: what plain reads, decoding reads in the same way. Data in any other form fails, and is decoded.
type plain struct {
	rest   []byte
	failed bool
}

// literal passes over a text that must come now; false: another comes.
func (p *plain) literal(text string) bool {
	if len(p.rest) < len(text) || string(p.rest[:len(text)]) != text {
		return false
	}
	p.rest = p.rest[len(text):]
	return true
}

func (p *plain) need(text string) { p.failed = !p.literal(text) || p.failed }

// number reads digits as JSON has them.
func (p *plain) number(most uint64) uint64 {
	n := 0
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	x, err := strconv.ParseUint(string(p.rest[:n]), 10, 64)
	p.failed = p.failed || err != nil || n > 1 && p.rest[0] == '0' || x > most
	p.rest = p.rest[n:]
	return x
}

// text reads a string without escapes.
func (p *plain) text() []byte {
	p.need(`"`)
	end := bytes.IndexByte(p.rest, '"')
	if end < 0 {
		p.failed = true
		return nil
	}
	text := p.rest[:end]
	for _, c := range text {
		p.failed = p.failed || c < ' ' || c >= 0x7f || c == '\\'
	}
	p.rest = p.rest[end+1:]
	return text
}

// field reads a text field that may be left out.
func (p *plain) field(name string) []byte {
	if !p.literal(name) {
		return nil
	}
	return p.text()
}

// list passes over the elements of an array or an object, up to its end.
func (p *plain) list(end string, element func()) {
	for first := true; !p.failed && !p.literal(end); first = false {
		if !first {
			p.need(",")
		}
		element()
	}
}

func (p *plain) duration(name string, must bool) {
	if !p.literal(name) {
		p.failed = p.failed || must
		return
	}
	var d domain.Duration
	p.failed = d.UnmarshalText(p.text()) != nil || p.failed
}

// details reads the details of a step, to the end of the data. status is the one that they name.
func (p *plain) details(d *Details) (status Status) {
	p.need(`,"address":`)
	p.text()
	if p.literal(`,"ports":{`) {
		p.list("}", func() {
			p.text()
			p.need(":")
			p.number(1<<16 - 1)
		})
	}
	if p.literal(`,"tags":[`) {
		p.list("]", func() { p.text() })
	}
	if p.literal(`,"metadata":{`) {
		p.list("}", func() {
			p.text()
			p.need(":")
			p.text()
		})
	}
	d.Zone, d.Version = string(p.field(`,"zone":`)), string(p.field(`,"version":`))
	p.need(`,"weight":`)
	p.number(1<<16 - 1)
	status = statusOf(domain.Status(p.field(`,"status":`)))
	p.duration(`,"ttl":`, true)
	p.field(`,"on_lapse":`)
	p.duration(`,"remove_after":`, false)
	p.failed = p.failed || string(p.rest) != "}" || status == 0
	return status
}

func plainRegistered(data []byte) (s Step, ok bool) {
	p := plain{rest: data}
	s = Step{Kind: Registered, New: new(Details)}
	p.need(`{"epoch":`)
	s.New.Begins = p.number(1<<63 - 1)
	s.New.Owner = string(p.field(`,"owner":`))
	if p.literal(`,"replaces":`) {
		p.number(1<<63 - 1)
	}
	reported := p.field(`,"reported":`)
	s.Status = p.details(s.New)
	if reported != nil {
		s.Status = statusOf(domain.Status(reported))
		p.failed = p.failed || s.Status == 0
	}
	s.Says = s.Status
	return s, !p.failed
}

func plainUpdated(data []byte) (s Step, ok bool) {
	p := plain{rest: data}
	s = Step{Kind: Updated, New: new(Details)}
	p.need(`{"epoch":`)
	p.number(1<<63 - 1)
	s.New.Owner = string(p.field(`,"owner":`))
	p.need(`,"changed":[`)
	changed := false
	p.list("]", func() { changed = string(p.text()) == "status" || changed })
	p.field(`,"previous_status":`)
	said := p.field(`,"reported":`)
	reported := statusOf(domain.Status(said))
	p.failed = p.failed || said != nil && reported == 0
	status := p.details(s.New)
	if changed {
		s.Says = status
	}
	s.Says = cmp.Or(reported, s.Says)
	return s, !p.failed
}
