package history

import (
	"crypto/sha256"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// draft is what the history needs of an audited event, whatever came before the event. So drafts of later events can be made by
// other goroutines while earlier events are applied.
type draft struct {
	terms terms
	step  traces.Step // has no leaf yet; zero: the stream is not an instance's
	hash  hash        // of the leaf
	name  uint32      // hash of terms.instance, see nameHash
	end   int         // where the canonical form ends in drafts.data
}

// drafts are those of the audited events among some events. Their texts are parts of the events.
type drafts struct {
	list []draft
	data []byte // the canonical forms, each behind leafMark
}

// leafMark begins what is hashed for a leaf (RFC 6962, 2.1).
const leafMark = 0

// make makes the drafts of the audited events. Those that were there are gone.
func (d *drafts) make(events []eventstore.RecordedEvent) {
	d.list, d.data = d.list[:0], d.data[:0]
	for i := range events {
		e := &events[i]
		if e.IsHeartbeat() || !e.Stream.Audited() {
			continue
		}
		begin := len(d.data)
		d.data = eventstore.AppendCanonical(append(d.data, leafMark), e)
		made := draftOf(e)
		made.hash, made.end = sha256.Sum256(d.data[begin:]), len(d.data)
		d.list = append(d.list, made)
	}
}

// draftOf is the draft of an event, but for what follows from its canonical form.
func draftOf(e *eventstore.RecordedEvent) draft {
	d := draft{terms: termsOf(e)}
	d.name = nameHash(d.terms.instance)
	if d.terms.ofInstance {
		d.step = traces.Of(e)
	}
	return d
}

// canonical is the canonical form of the ith event.
func (d *drafts) canonical(i int) []byte {
	begin := 1
	if i > 0 {
		begin += d.list[i-1].end
	}
	return d.data[begin:d.list[i].end]
}
