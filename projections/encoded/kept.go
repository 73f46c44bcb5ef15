package encoded

import (
	"sync"
	"unsafe"
	"weak"
)

// Kept finds forms again by their names. It keeps those that were put last, up to Limit bytes. A form beyond that
// is found for as long as anyone else has its bytes, such as a reply that is being written: it is shared while it
// is there, and takes no memory of Kept's. The zero value with a Limit keeps none yet. Any number of goroutines may
// use it.
type Kept struct {
	Limit int // bytes

	mu     sync.Mutex
	forms  map[string]*keptForm
	newest []*keptForm // whose bytes are kept, oldest first
	bytes  int         // of those
	sweep  int         // number of forms at which those that are gone are looked for
}

// keptForm has the bytes themselves while they are kept, and always where they are.
type keptForm struct {
	name  string
	bytes []byte // nil: not kept
	first weak.Pointer[byte]
	size  int
	etag  string
}

// Find is the form of that name, if it is still there.
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

// Put keeps a form, which has at least one byte, under a name that means nothing else ever.
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

// forget lets go of the names of forms that are gone, whenever their number may have doubled.
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
