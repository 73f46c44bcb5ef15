package catalog

import (
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
}

// Ready are the instances that may get traffic.
func (v *View) Ready() []*Entry {
	var ready []*Entry
	for _, e := range v.Entries {
		if e.Ready() {
			ready = append(ready, e)
		}
	}
	return ready
}
