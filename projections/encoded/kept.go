package encoded

import (
	"sync"
	"unsafe"
	"weak"
)

// Kept finds forms by their names. It keeps the forms that were put last, up to Limit bytes. It finds an older form as long
// as someone else keeps the form's bytes, such as a reply that is being written, and for such a form it takes no memory.
// The zero value with a Limit keeps no form yet. Any number of goroutines may use it.
//
// INVARIANT: bytes is the sum of the sizes of the forms in newest, which are the forms whose keptForm.bytes is not nil. All
// other forms are only pointed to weakly.
type Kept struct {
	Limit int // bytes

	mu     sync.Mutex
	forms  map[string]*keptForm
	newest []*keptForm // the forms whose bytes are kept, oldest first
	bytes  int         // sum of the sizes of the forms in newest
	sweep  int         // number of forms at which forget looks for forms that were collected
}

// keptForm is a form, with its bytes while they are kept, and with a weak pointer to them afterwards.
type keptForm struct {
	name  string
	bytes []byte // nil: not kept
	first weak.Pointer[byte]
	size  int
	etag  string
}

// Find is the form of that name, if its bytes are still in memory.
func (k *Kept) Find(name string) (Form, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.forms[name]
	if f == nil {
		return Form{}, false
	}
	first := f.first.Value()
	if first == nil {
		delete(k.forms, name)
		return Form{}, false
	}
	return Form{Bytes: unsafe.Slice(first, f.size), ETag: f.etag}, true
}

// Put keeps a form under a name. REQUIRES: the form has at least one byte, and the name never means another form.
func (k *Kept) Put(name string, form Form) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forms == nil {
		k.forms = make(map[string]*keptForm)
	}
	if old := k.forms[name]; old != nil && old.bytes != nil {
		return
	}
	k.forget()
	f := &keptForm{name: name, bytes: form.Bytes, first: weak.Make(unsafe.SliceData(form.Bytes)), size: len(form.Bytes), etag: form.ETag}
	k.forms[name] = f
	k.newest = append(k.newest, f)
	k.bytes += f.size
	for k.bytes > k.Limit {
		oldest := k.newest[0]
		k.newest[0] = nil
		k.newest = k.newest[1:]
		k.bytes -= oldest.size
		oldest.bytes = nil
	}
}

// forget removes the names of forms that were collected, each time when the number of names may have doubled.
func (k *Kept) forget() {
	if len(k.forms) < max(k.sweep, 64) {
		return
	}
	for name, f := range k.forms {
		if f.first.Value() == nil {
			delete(k.forms, name)
		}
	}
	k.sweep = 2 * len(k.forms)
}
