package pebblestore

import (
	"bytes"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// known says of a stream without a read that the engine has none of its events, and that no head was made of it since the opening
// (ADR 094). A registration of a new instance would otherwise look for its head, whose table reads each head that it passes, and in each
// memtable and in a table of each level; the engine does not ask the filters of the last one.
//
// The answer comes from Bloom filters, which may take a new stream for one that has events, but never the other way round. They
// are in memory only. Once many streams without events were asked for, they are filled from the keys of the engine.
//
// INVARIANT: the filters have each stream of which a head was put into the table: it is added before, while the part of the table is
// locked. From complete on they have every stream of which the engine has an event, too. The committer writes no event without a head in
// the table, so a stream that the filling does not find, because its first event came after the iterator was made, is there already.
type known struct {
	complete atomic.Bool
	asked    atomic.Int64  // how many streams without events were asked for
	wanted   chan struct{} // closed once so many were asked for that the filters are worth their filling

	mu    sync.Mutex // held to add
	tiers atomic.Pointer[[]*tier]
}

// fillAfter is after how many questions for streams without events the filters are filled. A store whose streams nearly all have
// events does not need them.
const fillAfter = 1000

// tier is a filter of a fixed number of streams. Each next one has twice as many places.
//
// A stream has a bit in each of the eight words of one block, which is one line of the processor's cache. With 16 bits for each
// stream, fewer than one in 500 new streams is taken for one with events.
type tier struct {
	blocks [][blockWords]atomic.Uint64
	free   int // how many streams can still be added; guarded by mu
}

const (
	blockWords      = 8
	streamsPerBlock = blockWords * 64 / 16
	firstTier       = 1 << 11 // blocks: 64 Ki streams in 128 KiB
)

func newKnown() *known {
	k := &known{wanted: make(chan struct{})}
	k.tiers.Store(&[]*tier{})
	return k
}

// lacks says that the engine surely has no event of the stream with a hash.
func (k *known) lacks(hash uint64) bool {
	if !k.complete.Load() {
		return false
	}
	for _, t := range *k.tiers.Load() {
		if t.has(hash) {
			return false
		}
	}
	return true
}

// missed notes that the engine was asked for a stream without events.
func (k *known) missed() {
	if k.asked.Add(1) == fillAfter {
		close(k.wanted)
	}
}

// add adds a stream.
func (k *known) add(hash uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	tiers := *k.tiers.Load()
	for _, t := range tiers {
		if t.has(hash) {
			return
		}
	}
	if len(tiers) == 0 || tiers[len(tiers)-1].free == 0 {
		blocks := firstTier << len(tiers)
		more := append(tiers[:len(tiers):len(tiers)], &tier{blocks: make([][blockWords]atomic.Uint64, blocks), free: blocks * streamsPerBlock})
		k.tiers.Store(&more)
		tiers = more
	}
	tiers[len(tiers)-1].add(hash)
}

// place is the block of a hash, and the bit of each word in it.
func (t *tier) place(hash uint64) (block *[blockWords]atomic.Uint64, mix uint64) {
	high, low := bits.Mul64(hash, uint64(len(t.blocks)))
	return &t.blocks[high], low * 0x9e3779b97f4a7c15
}

func (t *tier) has(hash uint64) bool {
	block, mix := t.place(hash)
	for i := range block {
		if block[i].Load()&bitOf(mix, i) == 0 {
			return false
		}
	}
	return true
}

func (t *tier) add(hash uint64) {
	block, mix := t.place(hash)
	for i := range block {
		block[i].Or(bitOf(mix, i))
	}
	t.free--
}

// bitOf is the bit of a word: six bits of the mix, others for each word.
func bitOf(mix uint64, word int) uint64 { return 1 << (mix >> (16 + 6*word) & 63) }

// fillKnown waits until the filters are wanted, and fills them. They stay incomplete if the keys cannot be read.
func (s *Store) fillKnown() {
	select {
	case <-s.closing:
		return
	case <-s.known.wanted:
	}
	if err := s.fill(); err != nil {
		s.opts.Logger.Warn("the names of streams cannot be read; registrations of new instances take longer", "cause", err)
	}
}

// fill adds each stream of which the engine has an event.
func (s *Store) fill() error {
	for _, prefix := range []byte{rangeStream, rangeNumber} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix, '/'}, UpperBound: after(prefix)})
		if err != nil {
			return err
		}
		var newest []byte // stream
		for ok := it.First(); ok; ok = it.Next() {
			select {
			case <-s.closing:
				return it.Close()
			default:
			}
			name := it.Key()[2:]
			if prefix == rangeStream {
				name = name[:len(name)-9]
			}
			if !bytes.Equal(name, newest) {
				newest = append(newest[:0], name...)
				s.known.add(xxhash.Sum64(name))
			}
		}
		if err := it.Close(); err != nil {
			return err
		}
	}
	s.known.complete.Store(true)
	return nil
}
