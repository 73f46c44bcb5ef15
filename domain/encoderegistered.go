package domain

import (
	"slices"
	"strconv"
)

// appendPlain appends what json.Marshal gives for a registration in the form that nearly every registration has: no checks, no
// origin, no maintenance, and no text that needs an escape. ok is false for any other. It takes a third of the time, and a
// registration is the most frequent event behind heartbeats.
func (e *InstanceRegistered) appendPlain(into []byte) (b []byte, ok bool) {
	if e.Maintenance != nil || len(e.Checks) > 0 || e.Origin != "" {
		return nil, false
	}
	p := plainEvent{b: slices.Grow(into, plainLength), ok: true}
	p.number(`{"epoch":`, e.Epoch)
	p.textField(`,"owner":`, e.Owner)
	if e.Replaces != 0 {
		p.number(`,"replaces":`, e.Replaces)
	}
	p.textField(`,"reported":`, string(e.Reported))
	p.text(`,"address":`, e.Address)
	var few [fewNames]string
	if len(e.Ports) > 0 {
		before := `,"ports":{`
		for _, name := range names(e.Ports, few[:0]) {
			p.text(before, name)
			p.number(`:`, uint64(e.Ports[name]))
			before = ","
		}
		p.b = append(p.b, '}')
	}
	if len(e.Tags) > 0 {
		before := `,"tags":[`
		for _, tag := range e.Tags {
			p.text(before, tag)
			before = ","
		}
		p.b = append(p.b, ']')
	}
	if len(e.Metadata) > 0 {
		before := `,"metadata":{`
		for _, name := range names(e.Metadata, few[:0]) {
			p.text(before, name)
			p.text(`:`, e.Metadata[name])
			before = ","
		}
		p.b = append(p.b, '}')
	}
	p.textField(`,"zone":`, e.Zone)
	p.textField(`,"version":`, e.Version)
	p.number(`,"weight":`, uint64(e.Weight))
	p.textField(`,"status":`, string(e.Status))
	p.b = append(p.b, `,"ttl":"`...)
	p.b = append(e.TTL.appendTo(p.b), '"')
	p.textField(`,"on_lapse":`, string(e.OnLapse))
	if e.RemoveAfter != 0 {
		p.text(`,"remove_after":`, e.RemoveAfter.String())
	}
	return append(p.b, '}'), p.ok
}

// plainLength is the length that few registrations pass in this form.
const plainLength = 384

// fewNames is how many names most maps have at most. A list of so many needs no memory of the heap.
const fewNames = 8

// names appends the keys of a map, sorted as json.Marshal sorts them.
func names[V any](m map[string]V, into []string) []string {
	for name := range m {
		into = append(into, name)
	}
	slices.Sort(into)
	return into
}

// plainEvent appends JSON. ok is false once a text needed an escape.
type plainEvent struct {
	b  []byte
	ok bool
}

func (p *plainEvent) number(before string, n uint64) {
	p.b = strconv.AppendUint(append(p.b, before...), n, 10)
}

// textField appends a field that is left out if it is empty.
func (p *plainEvent) textField(before, text string) {
	if text != "" {
		p.text(before, text)
	}
}

func (p *plainEvent) text(before, text string) {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			p.ok = false
		}
	}
	p.b = append(append(append(append(p.b, before...), '"'), text...), '"')
}
