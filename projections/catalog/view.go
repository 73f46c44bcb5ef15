package catalog

import (
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/encoded"
)

// View is a service with its instances at one position. It never changes, except that Forms remembers encodings.
type View struct {
	Service  domain.ServiceKey
	Position eventstore.Position // of the newest change to the service; 0 when it has no instance
	Entries  []*Entry            // in order of their ids

	// Forms are what the view looks like in the formats that were asked for. Formats that clients make up, as by
	// their filters, are kept elsewhere: there may be many.
	Forms encoded.Memo

	panics atomic.Pointer[domain.Panic] // nil: not judged yet
}

// Panics says whether the service panics. It is judged once, so that all who have the view are told the same.
func (v *View) Panics(judge func(ready, total int) domain.Panic) *domain.Panic {
	if p := v.panics.Load(); p != nil {
		return p
	}
	p := judge(v.ReadyCount(), len(v.Entries))
	v.panics.CompareAndSwap(nil, &p)
	return v.panics.Load()
}

// ReadyCount is how many instances may get traffic.
func (v *View) ReadyCount() (n int) {
	for _, e := range v.Entries {
		if e.Ready() {
			n++
		}
	}
	return n
}
