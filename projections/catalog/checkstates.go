package catalog

import (
	"encoding/binary"
	"slices"
	"time"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// The states of an instance's checks are kept in the form in which a snapshot has them, because there may be many checks and
// a domain.CheckState takes several times as many bytes. They are unpacked when they are asked for. The texts of unpacked
// states are parts of the packed form.

func (h *health) states() string { return unsafe.String(h.packed, h.size) }

func (h *health) keepStates(packed string) {
	h.packed, h.size = unsafe.StringData(packed), uint32(len(packed))
}

func (h *health) setChecks(checks []domain.CheckState) {
	if len(checks) == 0 {
		return
	}
	var buffer [256]byte
	b := binary.AppendUvarint(buffer[:0], uint64(len(checks)))
	for i := range checks {
		b = appendCheckState(b, &checks[i])
	}
	h.keepStates(string(b))
}

// checks unpacks the states.
func (h *health) checks() []domain.CheckState {
	if h.size == 0 {
		return nil
	}
	r := snapshotReader{Reader: packed.Reader{B: unsafe.Slice(h.packed, h.size)}} // it changes none of these bytes
	checks := make([]domain.CheckState, r.Uvarint())
	for i := range checks {
		checks[i] = r.checkState()
	}
	return checks
}

// kinds are the kinds by their numbers in the packed form. A kind or a status that has no number is written as a text.
var kinds = [...]domain.CheckKind{domain.CheckTTL, domain.CheckHTTP, domain.CheckTCP, domain.CheckGRPC}

// A packed state begins with a number of three parts: the kind, the status, and whether the newest change is Since.
const (
	named        = 7 // a kind or a status that has no number
	statusShift  = 3
	changedSince = 1 << 6
)

func appendCheckState(b []byte, c *domain.CheckState) []byte {
	kind := uint64(named)
	if at := slices.Index(kinds[:], c.Kind); at >= 0 {
		kind = uint64(at)
	}
	status := uint64(named)
	if code, known := statusCode(c.Status); known {
		status = uint64(code)
	}
	head := kind | status<<statusShift
	if n := len(c.Changes); n > 0 && c.Changes[n-1].Equal(c.Since) {
		head |= changedSince
	}
	b = binary.AppendUvarint(b, head)
	if kind == named {
		b = packed.AppendBytes(b, c.Kind)
	}
	if status == named {
		b = packed.AppendBytes(b, c.Status)
	}
	b = packed.AppendBytes(b, c.ID)
	b = packed.AppendBytes(b, c.Output)
	b = packed.AppendBytes(b, c.By)
	for _, n := range [...]uint64{uint64(c.TTL), uint64(c.RemoveAfter), c.Revision, uint64(len(c.Changes))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, at := range c.Changes {
		b = appendTime(b, at)
	}
	if head&changedSince == 0 {
		b = appendTime(b, c.Since)
	}
	return b
}

// checkState unpacks a state. Its texts are parts of the bytes that are read.
func (r *snapshotReader) checkState() (c domain.CheckState) {
	head := r.Uvarint()
	kind, status := head&named, head>>statusShift&named
	switch {
	case kind == named:
		c.Kind = domain.CheckKindOf(r.Bytes())
	case kind < uint64(len(kinds)):
		c.Kind = kinds[kind]
	}
	switch {
	case status == named:
		c.Status = domain.Status(r.Bytes())
	case status < uint64(len(statuses)):
		c.Status = statuses[status]
	}
	c.ID, c.Output, c.By = r.text(), r.text(), r.text()
	c.TTL, c.RemoveAfter, c.Revision = domain.Duration(r.Uvarint()), domain.Duration(r.Uvarint()), r.Uvarint()
	if n := r.Uvarint(); n > 0 && n <= domain.FlappingChanges {
		c.Changes = make([]time.Time, 0, n)
		for ; n > 0 && !r.Failed; n-- {
			c.Changes = append(c.Changes, r.time())
		}
	} else if n > 0 {
		r.Failed = true // the number is damaged
	}
	if head&changedSince == 0 {
		c.Since = r.time()
	} else if n := len(c.Changes); n > 0 {
		c.Since = c.Changes[n-1]
	}
	return c
}

// text is bytes as a string that is not copied. REQUIRES: nobody changes the bytes that are read.
func (r *snapshotReader) text() string {
	b := r.Bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// appendTime writes a time as nanoseconds since 1970, and the zero time as 0.
func appendTime(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return binary.AppendUvarint(b, 0)
	}
	return binary.AppendUvarint(b, uint64(at.UnixNano()))
}

func (r *snapshotReader) time() time.Time {
	if n := r.Uvarint(); n != 0 {
		return time.Unix(0, int64(n)).UTC()
	}
	return time.Time{}
}
