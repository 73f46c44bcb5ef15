package httpapi

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/rollcall-registry/rollcall/domain"
)

// plainRegistration is a registration in a body, or with its envelope an item of a batch of commands.
type plainRegistration struct {
	plainFields
	last lastValues
	json plainJSON // that is being read; a variable of its own would take memory for each registration
}

// plainFields are what is read of one registration.
type plainFields struct {
	envelope
	registration

	// What the pointers of registration point to.
	weight uint16
	status domain.Status
	ttl    domain.Duration

	ports map[string]uint16 // in place of Ports
}

// lastValues are values of the registration that was read before with the same plainRegistration. The next one often has the same
// text there, because the instances of a service differ in little but their address, and to make two maps takes as long as the rest
// of the reading.
//
// INVARIANT: nobody changes a value, because commands share it.
type lastValues struct {
	ports    lastValue[map[string]uint16]
	tags     lastValue[[]string]
	metadata lastValue[map[string]string]
}

type lastValue[V any] struct {
	text  string // the JSON of the value, an object or an array; "": there is none yet
	value V
}

// again is what read reads, or the last value if its text comes again.
func (l *lastValue[V]) again(p *plainJSON, read func(*plainJSON) V) V {
	p.space()
	if l.text != "" && strings.HasPrefix(p.rest(), l.text) {
		p.at += len(l.text)
		return l.value
	}
	begin := p.at
	value := read(p)
	if !p.failed {
		l.text, l.value = p.text[begin:p.at], value
	}
	return value
}

// plainRegistrations are kept for later requests. INVARIANT: the last values of one in the pool point into a text of at most
// keptText bytes.
var plainRegistrations = sync.Pool{New: func() any { return new(plainRegistration) }}

const keptText = 4 << 10

// next makes it ready for another registration.
func (r *plainRegistration) next() { r.plainFields, r.json = plainFields{}, plainJSON{} }

// register fills in the command of the registration. REQUIRES: the command is empty.
func (r *plainRegistration) register(command *domain.RegisterInstance, key domain.Key) (err error) {
	command.Key, command.Owner, command.Epoch = key, r.Owner, r.Epoch
	command.Details, err = r.details()
	if len(r.ports) > 0 {
		command.Details.Ports = r.ports
	}
	return err
}

func plainPorts(p *plainJSON) map[string]uint16 {
	return plainMap(p, func() uint16 {
		port := p.number(1<<16 - 1)
		p.failed = p.failed || port == 0 // the way of the JSON library refuses it
		return uint16(port)
	})
}

func plainMetadata(p *plainJSON) map[string]string { return plainMap(p, p.string) }

func plainTags(p *plainJSON) []string {
	tags := []string{}
	for more := p.opens('[', ']'); more; more = p.goesOn(']') {
		tags = append(tags, p.string())
	}
	return tags
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
	rest, ok := r.object(text, inBatch)
	return ok && skipSpace(rest) == ""
}

// object is read of the object at the beginning of a text, and gives what follows the object. REQUIRES: the text is valid UTF-8.
func (r *plainRegistration) object(text string, inBatch bool) (rest string, ok bool) {
	r.json = plainJSON{text: text}
	p := &r.json
	var seen uint32
	for more := p.opens('{', '}'); more; more = p.goesOn('}') {
		switch p.name() {
		case "address":
			p.once(&seen, 0)
			r.Address = p.string()
		case "ports":
			p.once(&seen, 1)
			r.ports = r.last.ports.again(p, plainPorts)
		case "tags":
			p.once(&seen, 2)
			r.Tags = r.last.tags.again(p, plainTags)
		case "metadata":
			p.once(&seen, 3)
			r.Metadata = r.last.metadata.again(p, plainMetadata)
		case "zone":
			p.once(&seen, 4)
			r.Zone = p.string()
		case "version":
			p.once(&seen, 5)
			r.Version = p.string()
		case "weight":
			p.once(&seen, 6)
			r.weight = uint16(p.number(1<<16 - 1))
			r.Weight = &r.weight
		case "status":
			p.once(&seen, 7)
			r.status = domain.Status(p.string())
			r.Status = &r.status
		case "ttl":
			p.once(&seen, 8)
			r.ttl = p.ttl()
			r.TTL = &r.ttl
		case "owner":
			p.once(&seen, 9)
			r.Owner = p.string()
		case "epoch":
			p.once(&seen, 10)
			r.Epoch = p.number(1 << 59)
		case "type":
			p.once(&seen, 11)
			r.Type = p.string()
			p.failed = p.failed || !inBatch || r.Type != "RegisterInstance"
		case "namespace":
			p.once(&seen, 12)
			r.Namespace = p.string()
			p.failed = p.failed || !inBatch
		case "service":
			p.once(&seen, 13)
			r.Service = p.string()
			p.failed = p.failed || !inBatch
		case "id":
			p.once(&seen, 14)
			r.ID = p.string()
			p.failed = p.failed || !inBatch
		default:
			p.failed = true
		}
	}
	return p.rest(), !p.failed && (!inBatch || r.Type != "")
}
