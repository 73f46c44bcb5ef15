package httpapi

import (
	"unicode/utf8"

	"github.com/rollcall-registry/rollcall/domain"
)

// plainRegistration is a registration in a body, or with its envelope an item of a batch of commands.
type plainRegistration struct {
	envelope
	registration

	// What the pointers of registration point to.
	weight uint16
	status domain.Status
	ttl    domain.Duration
}

// read reads the JSON of a registration in its plainest form, which nearly every registration has: known
// fields only, each once, no escapes, no null. It is ten times as fast as the JSON library. ok is false for any other JSON,
// and for what is no JSON: then decodeStrict must read it, which either reads the same or tells what is wrong.
//
// inBatch says that the object has the fields of the envelope, too. The strings point into text.
func (r *plainRegistration) read(text string, inBatch bool) (ok bool) {
	if !utf8.ValidString(text) {
		return false
	}
	p := plainJSON{rest: text}
	var seen uint32
	for more := p.opens('{', '}'); more; more = p.goesOn('}') {
		switch p.name() {
		case "address":
			p.once(&seen, 0)
			r.Address = p.text()
		case "ports":
			p.once(&seen, 1)
			r.Ports = plainMap(&p, func() int { return int(p.number(1 << 20)) })
		case "tags":
			p.once(&seen, 2)
			r.Tags = []string{}
			for more := p.opens('[', ']'); more; more = p.goesOn(']') {
				r.Tags = append(r.Tags, p.text())
			}
		case "metadata":
			p.once(&seen, 3)
			r.Metadata = plainMap(&p, p.text)
		case "zone":
			p.once(&seen, 4)
			r.Zone = p.text()
		case "version":
			p.once(&seen, 5)
			r.Version = p.text()
		case "weight":
			p.once(&seen, 6)
			r.weight = uint16(p.number(1<<16 - 1))
			r.Weight = &r.weight
		case "status":
			p.once(&seen, 7)
			r.status = domain.Status(p.text())
			r.Status = &r.status
		case "ttl":
			p.once(&seen, 8)
			r.ttl = p.ttl()
			r.TTL = &r.ttl
		case "owner":
			p.once(&seen, 9)
			r.Owner = p.text()
		case "epoch":
			p.once(&seen, 10)
			r.Epoch = p.number(1 << 59)
		case "type":
			p.once(&seen, 11)
			r.Type = p.text()
			p.failed = p.failed || !inBatch || r.Type != "RegisterInstance"
		case "namespace":
			p.once(&seen, 12)
			r.Namespace = p.text()
			p.failed = p.failed || !inBatch
		case "service":
			p.once(&seen, 13)
			r.Service = p.text()
			p.failed = p.failed || !inBatch
		case "id":
			p.once(&seen, 14)
			r.ID = p.text()
			p.failed = p.failed || !inBatch
		default:
			p.failed = true
		}
	}
	p.space()
	return !p.failed && p.rest == "" && (!inBatch || r.Type != "")
}
