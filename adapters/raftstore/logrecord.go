package raftstore

import (
	"encoding/binary"
	"encoding/json"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/projections/packed"
)

// A write to the log is a list of records. Each has a kind, a length, and a content.
const (
	recordEntry    = 'e' // an entry: index, term, type, data. It takes the place of those with the same or a later index
	recordState    = 's' // raftpb.HardState
	recordIdentity = 'i' // JSON of identity
	recordCut      = 'c' // index and term of the entry before the first one
	recordBegins   = 'b' // index at which the log ended when the file was begun; the first record of a file
	recordReset    = 'r' // index and term of an entry: the log begins anew after it
)

// records is what one sync makes durable.
type records struct{ b []byte }

// begin begins a record of a kind, whose content has a size and is to be appended.
func (r *records) begin(kind byte, size int) {
	r.b = binary.AppendUvarint(append(r.b, kind), uint64(size))
}

func (r *records) entry(e *raftpb.Entry) {
	var head [2*binary.MaxVarintLen64 + 1]byte
	h := binary.AppendUvarint(binary.AppendUvarint(head[:0], e.GetIndex()), e.GetTerm())
	h = append(h, byte(e.GetType()))
	r.begin(recordEntry, len(h)+len(e.GetData()))
	r.b = append(append(r.b, h...), e.GetData()...)
}

func (r *records) state(s *raftpb.HardState) error {
	value, err := proto.Marshal(s)
	r.begin(recordState, len(value))
	r.b = append(r.b, value...)
	return err
}

func (r *records) identity(i *identity) error {
	value, err := json.Marshal(i)
	r.begin(recordIdentity, len(value))
	r.b = append(r.b, value...)
	return err
}

// place is a record of an entry's index and term.
func (r *records) place(kind byte, index, term uint64) {
	r.begin(kind, 16)
	r.b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(r.b, index), term)
}

// index is a record of an index.
func (r *records) index(kind byte, index uint64) {
	r.begin(kind, 8)
	r.b = binary.BigEndian.AppendUint64(r.b, index)
}

// record is a record that was read. Its content is a part of what was read.
type record struct {
	kind    byte
	content []byte
}

// nextRecord reads the first record, and gives what follows.
func nextRecord(b []byte) (r record, rest []byte, err error) {
	p := packed.Reader{B: b}
	r.kind = p.Byte()
	r.content = p.Bytes()
	if p.Failed {
		return r, nil, ErrLogDamaged
	}
	return r, p.B, nil
}

// asEntry reads an entry. It shares no memory with the record.
func (r record) asEntry() (*raftpb.Entry, error) {
	p := packed.Reader{B: r.content}
	index, term, kind := p.Uvarint(), p.Uvarint(), raftpb.EntryType(p.Byte())
	if p.Failed {
		return nil, ErrLogDamaged
	}
	var data []byte
	if len(p.B) > 0 {
		data = append([]byte{}, p.B...)
	}
	return &raftpb.Entry{Index: &index, Term: &term, Type: kind.Enum(), Data: data}, nil
}

// numbers reads the index, and the term where there is one.
func (r record) numbers() (index, term uint64, err error) {
	switch len(r.content) {
	case 16:
		return binary.BigEndian.Uint64(r.content), binary.BigEndian.Uint64(r.content[8:]), nil
	case 8:
		return binary.BigEndian.Uint64(r.content), 0, nil
	}
	return 0, 0, ErrLogDamaged
}
