package domain

import (
	"bytes"
	"strconv"
)

// plain reads events in exactly the form in which Encode writes them, as long as their texts are plain ASCII without escapes. That
// is several times as fast as decoding, and events of these types are nearly all that a report reads.
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
func (p *plain) number() uint64 {
	n := 0
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	x, err := strconv.ParseUint(string(p.rest[:n]), 10, 64)
	p.failed = p.failed || err != nil || n > 1 && p.rest[0] == '0'
	p.rest = p.rest[n:]
	return x
}

// text reads a string without escapes, after its first quotation mark and up to and with its last.
func (p *plain) text() []byte {
	end := bytes.IndexByte(p.rest, '"')
	if end < 0 {
		p.failed = true
		return nil
	}
	text := p.rest[:end]
	for _, c := range text {
		if c < ' ' || c >= 0x7f || c == '\\' {
			p.failed = true
			return nil
		}
	}
	p.rest = p.rest[end+1:]
	return text
}

// ended says whether the data has been read to its end, in this form.
func (p *plain) ended() bool { return !p.failed && string(p.rest) == "}" }

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
	p := plain{rest: data}
	p.need(`{"epoch":`)
	e.Epoch = p.number()
	p.need(`,"from":"`)
	e.From = oneOf(statuses, p.text())
	p.need(`,"to":"`)
	e.To = oneOf(statuses, p.text())
	p.need(`,"source":"`)
	e.Source = oneOf(sources, p.text())
	if p.literal(`,"output":"`) {
		e.Output = string(p.text())
	}
	return e, p.ended()
}

func plainTraffic(data []byte) (e TrafficChanged, ok bool) {
	p := plain{rest: data}
	p.need(`{"epoch":`)
	e.Epoch = p.number()
	p.need(`,"from":"`)
	e.From = oneOf(traffics, p.text())
	p.need(`,"to":"`)
	e.To = oneOf(traffics, p.text())
	if p.literal(`,"reason":"`) {
		e.Reason = string(p.text())
	}
	return e, p.ended()
}
