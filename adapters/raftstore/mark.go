package raftstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/projections/packed"
)

// mark says where in the log a store is, with all that the applier must know to go on from there. The store keeps it in the
// same batch as the events of a block (pebblestore.Block).
//
// INVARIANT: a mark follows from the log up to its index, so it is equal on all nodes.
type mark struct {
	cluster uuid.UUID
	index   uint64 // of the newest entry that was applied
	term    uint64 // of that entry
	time    int64  // of the newest block, Unix nanoseconds
	// writers has the newest block of each node. A block that is not newer was applied before, or never will be.
	writers map[uint64]origin
	conf    *raftpb.ConfState
	members map[uint64]member
	removed []uint64 // ids of former members, which are not used again
	rules   uint64   // version of the rules for the next entry
}

// member is a node of the cluster.
type member struct {
	id      uint64
	name    string
	address string
}

const markVersion = 1

var errMark = errors.New("the store's place in the log cannot be understood: a newer version of rollcall wrote it, or it is damaged")

func (m *mark) encode() []byte {
	b := append([]byte{markVersion}, m.cluster[:]...)
	b = binary.AppendUvarint(b, m.index)
	b = binary.AppendUvarint(b, m.term)
	b = binary.AppendVarint(b, m.time)
	b = binary.AppendUvarint(b, uint64(len(m.writers)))
	for _, id := range slices.Sorted(maps.Keys(m.writers)) {
		w := m.writers[id]
		b = binary.BigEndian.AppendUint64(b, id)
		b = binary.AppendUvarint(b, w.incarnation)
		b = binary.AppendUvarint(b, w.number)
	}
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.conf)
	if err != nil {
		panic(err) // a message without required fields can always be written
	}
	b = packed.AppendBytes(b, conf)
	b = binary.AppendUvarint(b, uint64(len(m.members)))
	for _, member := range m.sorted() {
		b = binary.BigEndian.AppendUint64(b, member.id)
		b = packed.AppendBytes(b, []byte(member.name))
		b = packed.AppendBytes(b, []byte(member.address))
	}
	b = binary.AppendUvarint(b, uint64(len(m.removed)))
	for _, id := range m.removed {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	if m.rules > 1 { // a node that knows version 1 only reads no such mark
		b = binary.AppendUvarint(b, m.rules)
	}
	return b
}

func decodeMark(b []byte) (m mark, err error) {
	r := reader{Reader: packed.Reader{B: b}}
	if r.Byte() != markVersion {
		return m, errMark
	}
	copy(m.cluster[:], r.Take(uint64(len(m.cluster))))
	m.index, m.term = r.Uvarint(), r.Uvarint()
	m.time = r.Varint()
	m.writers = map[uint64]origin{}
	for range r.count() {
		id := r.uint64()
		m.writers[id] = origin{node: id, incarnation: r.Uvarint(), number: r.Uvarint()}
	}
	m.conf = &raftpb.ConfState{}
	if err := proto.Unmarshal(r.Bytes(), m.conf); err != nil {
		return m, errMark
	}
	m.members = map[uint64]member{}
	for range r.count() {
		id := r.uint64()
		m.members[id] = member{id: id, name: string(r.Bytes()), address: string(r.Bytes())}
	}
	for range r.count() {
		m.removed = append(m.removed, r.uint64())
	}
	m.rules = 1
	if len(r.B) > 0 {
		m.rules = r.Uvarint()
	}
	if r.end() != nil {
		return m, errMark
	}
	return m, nil
}

// clone is a copy that shares nothing that changes.
func (m *mark) clone() mark {
	c := *m
	c.writers, c.members, c.removed = maps.Clone(m.writers), maps.Clone(m.members), slices.Clone(m.removed)
	return c
}

// sorted are the members in the order of their ids.
func (m *mark) sorted() []member {
	return slices.SortedFunc(maps.Values(m.members), func(a, b member) int { return cmp.Compare(a.id, b.id) })
}

// named is the member with a name.
func (m *mark) named(name string) (found member, ok bool) {
	for _, member := range m.members {
		if member.name == name {
			return member, true
		}
	}
	return found, false
}

// learner says whether a member does not vote yet.
func (m *mark) learner(id uint64) bool { return slices.Contains(m.conf.GetLearners(), id) }

// newer says whether a block was not applied yet. A block of a node that is no member is never applied: the node may have
// been removed, and what was applied of it is forgotten.
func (m *mark) newer(of origin) bool {
	if _, ok := m.members[of.node]; !ok {
		return false
	}
	last := m.writers[of.node]
	return of.incarnation > last.incarnation || of.incarnation == last.incarnation && of.number > last.number
}

func (r *reader) uint64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// count is the number of elements that follow. Each element has at least one byte.
func (r *reader) count() uint64 {
	n := r.Uvarint()
	if n > uint64(len(r.B)) {
		r.Fail()
		return 0
	}
	return n
}
