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
}

// drafts are those of the audited events among some events. Their texts are parts of the events.
type drafts struct {
	list      []draft
	positions []eventstore.Position // of the events
	ends      []int                 // where the canonical forms end in data
	data      []byte                // a byte for leafMark, and the canonical forms

	// blocks are the blocks of all the events, if pack made them.
	blocks     []draftBlock
	compressed []byte // those of blocks

	steps    traces.Maker
	metadata plainMetadata // that was read last
}

// draftBlock is a block of drafts from one index to before another.
type draftBlock struct {
	from, to   int
	compressed []byte
}

// leafMark begins what is hashed for a leaf (RFC 6962, 2.1).
const leafMark = 0

// make makes the drafts of the audited events. Those that were there are gone.
func (d *drafts) make(events []eventstore.RecordedEvent) {
	d.list, d.positions, d.ends, d.blocks = d.list[:0], d.positions[:0], d.ends[:0], d.blocks[:0]
	d.data = append(d.data[:0], leafMark)
	for i := range events {
		e := &events[i]
		if e.IsHeartbeat() || !e.Stream.Audited() {
			continue
		}
		begin := len(d.data)
		made, is := d.draft(e)
		d.data = eventstore.AppendCanonicalOf(d.data, e, is)
		made.hash = d.hashFrom(begin)
		d.list, d.positions, d.ends = append(d.list, made), append(d.positions, e.Position), append(d.ends, len(d.data))
	}
}

// hashFrom is the hash of the leaf whose canonical form begins somewhere in data and ends with data. What stands before the form gives
// its place to leafMark meanwhile.
func (d *drafts) hashFrom(begin int) hash {
	before := d.data[begin-1]
	d.data[begin-1] = leafMark
	made := sha256.Sum256(d.data[begin-1:])
	d.data[begin-1] = before
	return made
}

// draft is the draft of an event, but for what follows from its canonical form.
func (d *drafts) draft(e *eventstore.RecordedEvent) (made draft, is eventstore.Checked) {
	made.terms = termsOf(e)
	t := &made.terms
	if is.Metadata = d.metadata.read(e.Metadata); is.Metadata {
		t.actor, t.hasActor = d.metadata.actor, true
	} else {
		t.actor, t.hasActor = actorOf(e.Metadata)
		t.actor = indexName(t.actor)
	}
	made.name = nameHash(t.instance)
	if t.ofInstance {
		made.step, is.Data = d.steps.Of(e)
	}
	return made, is
}

// begin is where the canonical form of the ith event begins in data.
func (d *drafts) begin(i int) int {
	if i == 0 {
		return 1
	}
	return d.ends[i-1]
}

// canonical is the canonical form of the ith event.
func (d *drafts) canonical(i int) []byte { return d.data[d.begin(i):d.ends[i]] }

// packFrom is from how many drafts on they are packed: the last of their blocks is not full, so blocks of fewer drafts would be small.
const packFrom = 8 * blockEntries

// pack makes the blocks of the drafts.
func (d *drafts) pack() {
	d.compressed = d.compressed[:0]
	for from := 0; from < len(d.list); {
		to := from + 1
		for to < len(d.list) && to-from < blockEntries && d.ends[to-1]-d.begin(from) < blockBytes {
			to++
		}
		begin := len(d.compressed)
		d.compressed = compress(d.compressed, d.data[d.begin(from):d.ends[to-1]])
		d.blocks = append(d.blocks, draftBlock{from, to, d.compressed[begin:]})
		from = to
	}
}

// appendBlock appends the stored form of a block that pack made. leaf is the number of the first draft's leaf.
func (d *drafts) appendBlock(v []byte, b *draftBlock, leaf int64) []byte {
	v = appendHead(v, leaf+int64(b.from), d.positions[b.from:b.to], d.begin(b.from), d.ends[b.from:b.to])
	return append(v, b.compressed...)
}
