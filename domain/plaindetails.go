package domain

import (
	"math"

	"github.com/rollcall-registry/rollcall/domain/plain"
)

// Registrations and updates are read without decoding JSON, too, if they have no checks, no origin and no maintenance. A page of
// the history has two for each update, and a registration that comes again is compared with the one before it.

// plainDetails reads a registration or an update. Its texts are parts of one copy of the data.
type plainDetails struct {
	plain.Reader
	all string
}

func readPlain(data []byte) plainDetails {
	return plainDetails{Reader: plain.Reader{Data: data}, all: string(data)}
}

// text reads a string.
func (p *plainDetails) text() string {
	n := len(p.Text())
	if p.Failed {
		return ""
	}
	end := len(p.all) - p.Left() - 1
	return p.all[end-n : end]
}

// field reads a text field that may be left out.
func (p *plainDetails) field(name string) string {
	if !p.Literal(name) {
		return ""
	}
	return p.text()
}

func (p *plainDetails) duration(name string, may bool) (d Duration) {
	if p.Literal(name) {
		p.Failed = d.UnmarshalText([]byte(p.text())) != nil || p.Failed
	} else {
		p.Failed = p.Failed || !may
	}
	return d
}

// status reads a status that may be left out.
func (p *plainDetails) status(name string) Status {
	if !p.Literal(name) {
		return ""
	}
	return oneOf(statuses, p.Text())
}

// texts reads an array of texts that is not empty.
func (p *plainDetails) texts() (list []string) {
	for p.Need("["); !p.Failed; {
		list = append(list, p.text())
		if !p.Literal(",") {
			break
		}
	}
	p.Need("]")
	return list
}

// pairs reads an object that is not empty.
func pairs[V any](p *plainDetails, value func() V) map[string]V {
	m := make(map[string]V, 1)
	for p.Need("{"); !p.Failed; {
		name := p.text()
		p.Need(":")
		m[name] = value()
		if !p.Literal(",") {
			break
		}
	}
	p.Need("}")
	return m
}

// details reads the details, to the end of the data.
func (p *plainDetails) details() (d Details) {
	p.Need(`,"address":`)
	d.Address = p.text()
	if p.Literal(`,"ports":`) {
		d.Ports = pairs(p, func() uint16 { return uint16(p.Number(math.MaxUint16)) })
	}
	if p.Literal(`,"tags":`) {
		d.Tags = p.texts()
	}
	if p.Literal(`,"metadata":`) {
		d.Metadata = pairs(p, p.text)
	}
	d.Zone, d.Version = p.field(`,"zone":`), p.field(`,"version":`)
	p.Need(`,"weight":`)
	d.Weight = uint16(p.Number(math.MaxUint16))
	d.Status = p.status(`,"status":`)
	d.TTL = p.duration(`,"ttl":`, false)
	d.OnLapse = LapsePolicy(p.field(`,"on_lapse":`))
	d.RemoveAfter = p.duration(`,"remove_after":`, true)
	p.Failed = !p.Ended()
	return d
}

func plainRegistered(data []byte) (e InstanceRegistered, ok bool) {
	p := readPlain(data)
	p.Need(`{"epoch":`)
	e.Epoch = p.Number(math.MaxUint64)
	e.Owner = p.field(`,"owner":`)
	if p.Literal(`,"replaces":`) {
		e.Replaces = p.Number(math.MaxUint64)
	}
	e.Reported = p.status(`,"reported":`)
	e.Details = p.details()
	return e, !p.Failed
}

func plainUpdated(data []byte) (e InstanceUpdated, ok bool) {
	p := readPlain(data)
	p.Need(`{"epoch":`)
	e.Epoch = p.Number(math.MaxUint64)
	e.Owner = p.field(`,"owner":`)
	p.Need(`,"changed":`)
	e.Changed = p.texts()
	e.PreviousStatus = p.status(`,"previous_status":`)
	e.Reported = p.status(`,"reported":`)
	e.Details = p.details()
	return e, !p.Failed
}
