package history

import (
	"iter"
	"strings"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// directory has all subjects of a rebuild, so that an event looks up its subject once: for its segment, for the lists and for the
// summary. While the history grows, each of these has a table of its own, because each forgets names at another time (ADR 126).
type directory struct {
	index sparse.Index
	pages []*[subjectsPerPage]subject // by number/subjectsPerPage
	size  int
	texts []byte // memory for the next texts
}

const (
	subjectsPerPage = 256
	textsAtOnce     = 64 << 10 // bytes
)

func (d *directory) at(number int) *subject {
	return &d.pages[number/subjectsPerPage][number%subjectsPerPage]
}

// find is the subject of a stream; nil: there is none. hash is that of the name.
func (d *directory) find(hash uint32, stream eventstore.StreamName) *subject {
	number, ok := d.index.Find(hash, func(number int) bool { return d.at(number).stream == stream })
	if !ok {
		return nil
	}
	return d.at(number)
}

// subject is the subject of an event, which is made if there is none.
func (d *directory) subject(t *terms, hash uint32, stream eventstore.StreamName) *subject {
	if of := d.find(hash, stream); of != nil {
		return of
	}
	if d.size == len(d.pages)*subjectsPerPage {
		d.pages = append(d.pages, new([subjectsPerPage]subject))
	}
	of := d.at(d.size)
	*of = newSubject(t, d.keep(stream))
	of.hash, of.segment = hash, -1
	d.index.Add(hash, d.size)
	d.size++
	return of
}

// keep is a copy of a stream's name.
func (d *directory) keep(stream eventstore.StreamName) eventstore.StreamName {
	if len(stream) == 0 {
		return ""
	}
	if cap(d.texts)-len(d.texts) < len(stream) {
		d.texts = make([]byte, 0, max(textsAtOnce, len(stream)))
	}
	begin := len(d.texts)
	d.texts = append(d.texts, stream...)
	return eventstore.StreamName(unsafe.String(&d.texts[begin], len(stream))) // these bytes never change
}

// instance is the subject of an instance; nil: there is none.
func (d *directory) instance(name string) *subject {
	return d.find(nameHash(indexName(name)), eventstore.StreamName(eventstore.LifecyclePrefix+name))
}

// summaries yields the summaries of subjects.
func (d *directory) summaries() iter.Seq[*summary] {
	return func(yield func(*summary) bool) {
		for number := range d.size {
			if s := d.at(number).summary; s != nil && !yield(s) {
				return
			}
		}
	}
}

// summaryOf is the summary of a subject, as opened gives it. REQUIRES: mu is held, and there is a directory.
func (x *index) summaryOf(of *subject) *summary {
	if of.summary != nil {
		return of.summary
	}
	name, hash := strings.TrimPrefix(string(of.stream), eventstore.LifecyclePrefix), of.hash
	if name != of.name {
		hash = nameHash(name)
	}
	if s := x.open.Find(hash, name); s != nil { // it was taken over, or heartbeats came first
		x.open.Remove(s)
		of.summary = s
		return s
	}
	of.summary = x.made.next(mostAtOnce)
	*of.summary = summary{name: name, hash: hash, lone: !x.seeded, rested: true}
	return of.summary
}

// subjectOf is the subject that has a summary; nil: none has it.
func (x *index) subjectOf(s *summary) *subject {
	if x.names == nil {
		return nil
	}
	if of := x.names.instance(s.name); of != nil && of.summary == s {
		return of
	}
	return nil
}
