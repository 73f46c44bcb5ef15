// Package encoded remembers the encodings of values that never change, so that all callers that ask for one format share
// one encoding. The value does not know its formats: the caller brings the format's name and the encoder.
package encoded

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Form is a value in one format. INVARIANT: neither the fields nor the bytes change, so any number of goroutines may read
// them at any time.
type Form struct {
	Bytes []byte
	ETag  string // names the bytes, in quotes; "": this format has no ETag
}

// Tagged is a form with the ETag of its content, which is the same on every node and after every restart.
func Tagged(b []byte) Form { return Form{Bytes: b, ETag: ETag(b)} }

// ETag is the ETag of content.
func ETag(b []byte) string {
	tag := strconv.AppendUint(append(make([]byte, 0, 16), '"'), xxhash.Sum64(b), 36)
	return string(append(tag, '"'))
}

// maxFormats is how many forms a Memo keeps. A form in a further format is encoded for its caller and not kept.
const maxFormats = 64

// Memo keeps the forms of one value. The zero value keeps none yet. Any number of goroutines may use it.
//
// INVARIANT: the list grows only at its front, and only under mu. An item's format and next never change, and its form is
// set once, before made. So readers go through the list without a lock.
type Memo struct {
	newest atomic.Pointer[memoized]
	mu     sync.Mutex // held while the list grows
	kept   int
}

type memoized struct {
	format string
	once   sync.Once
	made   atomic.Bool // form is there
	form   Form
	next   *memoized
}

// Get is the value's form in a format. The first caller makes the form with encode; callers that come meanwhile wait.
func (m *Memo) Get(format string, encode func() Form) Form {
	found := m.find(format)
	if found == nil {
		if found = m.add(format); found == nil {
			return encode()
		}
	}
	found.once.Do(func() {
		found.form = encode()
		found.made.Store(true)
	})
	return found.form
}

// Made is the value's form in a format, if it has been made.
func (m *Memo) Made(format string) (form Form, ok bool) {
	if found := m.find(format); found != nil && found.made.Load() {
		return found.form, true
	}
	return Form{}, false
}

func (m *Memo) find(format string) *memoized {
	for f := m.newest.Load(); f != nil; f = f.next {
		if f.format == format {
			return f
		}
	}
	return nil
}

// add adds an item for the format; nil: the Memo has maxFormats items.
func (m *Memo) add(format string) *memoized {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.find(format); f != nil {
		return f
	}
	if m.kept == maxFormats {
		return nil
	}
	m.kept++
	f := &memoized{format: format, next: m.newest.Load()}
	m.newest.Store(f)
	return f
}
