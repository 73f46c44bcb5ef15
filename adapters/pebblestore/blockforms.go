package pebblestore

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// shortestRun is the fewest equal steps that a column holds as one.
const shortestRun = 3

// appendColumn appends a column by the steps from each number to the next, the first from 0. Equal steps that follow each other are a run,
// which takes two or three bytes: the streams of a batch that comes again and again have numbers and positions that follow each other, and
// the same revision. Other steps are listed.
//
// Each run or list begins with how many steps it has, doubled, and 1 more if it is a run.
func appendColumn(w []byte, values []uint64) []byte {
	var buffer [maxBlock]uint64
	steps := buffer[:len(values)]
	before := uint64(0)
	for i, v := range values {
		steps[i], before = v-before, v
	}
	listed := 0 // steps before the ones that are looked at, not written yet
	for i := 0; i < len(steps); {
		n := 1
		for i+n < len(steps) && steps[i+n] == steps[i] {
			n++
		}
		if n < shortestRun {
			listed += n
		} else {
			w = appendList(w, steps[i-listed:i])
			w = binary.AppendUvarint(w, uint64(n)<<1|1)
			w = binary.AppendVarint(w, int64(steps[i]))
			listed = 0
		}
		i += n
	}
	return appendList(w, steps[len(steps)-listed:])
}

func appendList(w []byte, steps []uint64) []byte {
	if len(steps) == 0 {
		return w
	}
	w = binary.AppendUvarint(w, uint64(len(steps))<<1)
	for _, step := range steps {
		w = binary.AppendVarint(w, int64(step))
	}
	return w
}

// column reads what appendColumn has written.
func (r *reader) column(values []uint64) {
	value := uint64(0)
	for i := 0; i < len(values) && !r.Failed; {
		head := r.Uvarint()
		n := head >> 1
		if n == 0 || n > uint64(len(values)-i) {
			r.Fail()
			return
		}
		isRun := head&1 != 0
		var step uint64
		if isRun {
			step = uint64(r.Varint())
		}
		for end := i + int(n); i < end; i++ {
			if !isRun {
				step = uint64(r.Varint())
			}
			value += step
			values[i] = value
		}
	}
}

// decoding reads the heartbeats of a block.
type decoding struct {
	reader
	store    *Store
	first    eventstore.Position
	at       time.Time
	metadata [][]byte
}

func (d *decoding) rows(into []heartbeat) {
	position := d.first
	for i := range into {
		h := &into[i]
		position += eventstore.Position(d.Uvarint())
		d.place(h, position)
		h.event.StreamNumber = uint32(d.Uvarint())
		h.event.Revision = eventstore.Revision(d.Uvarint())
		h.follows(d.Uvarint())
		d.describe(h, d.Uvarint())
		flags := d.Byte()
		d.extra(h, flags)
		if flags&flagRaw == 0 {
			h.is(d.Uvarint())
		}
	}
}

func (d *decoding) columns(into []heartbeat) {
	var buffer [maxBlock]uint64
	values := buffer[:len(into)]
	d.column(values)
	for i, v := range values {
		d.place(&into[i], d.first+eventstore.Position(v))
	}
	d.column(values)
	for i, v := range values {
		into[i].event.StreamNumber = uint32(v)
	}
	d.column(values)
	for i, v := range values {
		into[i].event.Revision = eventstore.Revision(v)
	}
	d.column(values)
	for i, v := range values {
		into[i].follows(v)
	}
	d.column(values)
	for i, v := range values {
		d.describe(&into[i], v)
	}
	var flags [maxBlock]uint64
	d.column(flags[:len(into)])
	d.column(values)
	for i, v := range values {
		into[i].is(v)
		d.extra(&into[i], byte(flags[i]))
	}
}

// place says where the heartbeat is in the log.
func (d *decoding) place(h *heartbeat, p eventstore.Position) {
	h.event.Position, h.event.RecordedAt, h.event.Timeline = p, d.at, d.store.timelines.Of(p)
}

// follows says how far back the heartbeat before in the same stream is. REQUIRES: the heartbeat's place is known.
func (h *heartbeat) follows(back uint64) {
	if back != 0 {
		h.previous = h.event.Position - eventstore.Position(back)
	}
}

func (d *decoding) describe(h *heartbeat, metadata uint64) {
	if metadata >= uint64(len(d.metadata)) {
		d.Fail()
		return
	}
	h.event.Metadata = d.metadata[metadata]
}

// is says that the heartbeat is an ordinary one, of an epoch.
func (h *heartbeat) is(epoch uint64) {
	h.event.Type, h.event.Data = domain.TypeHeartbeatReceived, domain.HeartbeatReceived{Epoch: epoch}.Encode()
}

// extra reads what the flags say. REQUIRES: the heartbeat's place is known.
func (d *decoding) extra(h *heartbeat, flags byte) {
	if flags&flagOwnID != 0 {
		h.event.ID = d.id()
	} else {
		h.event.ID = d.store.derivedID(h.event.Position, d.at)
	}
	if flags&flagRaw != 0 {
		h.event.Type, h.event.Data = d.eventType(), slices.Clone(d.Bytes())
	}
}
