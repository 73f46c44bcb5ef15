package history

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/projections/disposable"
)

// batch takes the keys of a commit. REQUIRES: no key comes twice.
type batch interface {
	Set(key, value []byte, _ *pebble.WriteOptions) error
	// commit hands the keys to the engine, all or none, and gives the batch for the next commit.
	commit(db *disposable.DB) (batch, error)
}

// memtableBatch goes through the memory of the engine.
type memtableBatch struct {
	*pebble.Batch
	largest int // bytes of its largest commit
	small   int // how many of its newest commits were small
}

const (
	keptBatch    = 8 << 20 // bytes of a batch that the next commit uses again, at most
	smallCommits = 8       // after how many small commits the memory of a batch is given back; under a load some are small, because their time has come
)

func newMemtableBatch(db *disposable.DB) memtableBatch {
	return memtableBatch{Batch: db.NewBatch(pebble.WithMaxRetainedSizeBytes(keptBatch))}
}

func (b memtableBatch) commit(db *disposable.DB) (batch, error) {
	size := b.Len()
	switch err := db.Commit(b.Batch); {
	case err != nil:
		return b, err
	case size >= b.largest/4:
		b.small = 0
	case b.small < smallCommits:
		b.small++
	default: // a load is over
		return newMemtableBatch(db), nil
	}
	b.Reset()
	b.largest = max(b.largest, size)
	return b, nil
}

// tableBatch becomes tables of the engine without going through its memory, where each key would be inserted, and then written
// and compressed twice. Of many keys, as a rebuild has them, that is most of the cost.
type tableBatch struct {
	ranges [256][]pair // by the first byte of the key; the keys of nearly all ranges come in order
	pieces [][]byte    // memory of keys and values
	used   int         // how many pieces have something
	keys   []pair      // buffer of commit
}

// pair is where a key and its value are: in a piece from at on. It has no pointers, so a batch of a million keys is nothing to look
// through for the garbage collector.
type pair struct{ piece, at, key, value uint32 }

// tablePiece is how much memory is taken at once for keys and values.
const tablePiece = 1 << 20

func (b *tableBatch) Set(key, value []byte, _ *pebble.WriteOptions) error {
	n := len(key) + len(value)
	for b.used == 0 || n > cap(b.pieces[b.used-1])-len(b.pieces[b.used-1]) {
		if b.used == len(b.pieces) {
			b.pieces = append(b.pieces, make([]byte, 0, max(n, tablePiece)))
		}
		b.used++
	}
	piece := &b.pieces[b.used-1]
	of := &b.ranges[key[0]]
	*of = append(*of, pair{uint32(b.used - 1), uint32(len(*piece)), uint32(len(key)), uint32(len(value))})
	*piece = append(append(*piece, key...), value...)
	return nil
}

func (b *tableBatch) keyOf(p pair) []byte { return b.pieces[p.piece][p.at : p.at+p.key] }

func (b *tableBatch) valueOf(p pair) []byte {
	begin := p.at + p.key
	return b.pieces[p.piece][begin : begin+p.value]
}

// ownTables are the ranges that have tables of their own. The state is written with each commit, and the tables of its neighbours would
// overlap each time if they had it, too.
var ownTables = [256]bool{rangeEntry: true, rangeBlock: true, rangeSteps: true, rangeState: true}

func (b *tableBatch) commit(db *disposable.DB) (batch, error) {
	keys, runs := b.keys[:0], []disposable.Run(nil)
	end := func(random bool) {
		if n := len(runs); n == 0 && len(keys) > 0 || n > 0 && runs[n-1].End < len(keys) {
			runs = append(runs, disposable.Run{End: len(keys), Random: random})
		}
	}
	for i, of := range b.ranges {
		if ownTables[i] {
			end(false)
		}
		slices.SortFunc(of, func(x, y pair) int { return bytes.Compare(b.keyOf(x), b.keyOf(y)) }) // of keys in order that is little work
		keys = append(keys, of...)
		if ownTables[i] {
			end(i == rangeBlock)
		}
	}
	end(false)
	err := db.Ingest(runs, func(i int) (key, value []byte) { return b.keyOf(keys[i]), b.valueOf(keys[i]) })
	for i := range b.ranges {
		b.ranges[i] = b.ranges[i][:0]
	}
	for i := range b.pieces[:b.used] {
		b.pieces[i] = b.pieces[i][:0]
	}
	b.keys, b.used = keys, 0
	return b, err
}

// rebuildBatch is the batch of a rebuild. What grows goes to the engine ahead of the rest.
type rebuildBatch struct {
	*tableBatch
	growing *growing
}

func (b rebuildBatch) Set(key, value []byte, o *pebble.WriteOptions) error {
	switch key[0] {
	case rangeEntry, rangeBlock, rangeSteps:
		return b.growing.set(key, value)
	}
	return b.tableBatch.Set(key, value, o)
}

func (b rebuildBatch) commit(db *disposable.DB) (batch, error) {
	_, err := b.tableBatch.commit(db)
	return b, err
}

// growing has the keys of the ranges that are most of a rebuild, and whose keys only grow, so that no later table overlaps theirs. They go to
// the engine whenever they are growingPieces, by a goroutine of its own for which wait waits, so that their memory is used again soon. Nobody reads
// the folder of a rebuild before all of it is there.
type growing struct {
	db           *disposable.DB
	batch, spare *tableBatch
	writing      chan error // gets the outcome of the batch that is being written; nil: none is
}

const growingPieces = 12

func (g *growing) set(key, value []byte) error {
	if g.batch.used > growingPieces {
		if err := g.handOver(); err != nil {
			return err
		}
	}
	return g.batch.Set(key, value, nil)
}

func (g *growing) handOver() error {
	if err := g.wait(); err != nil {
		return err
	}
	written, done := g.batch, make(chan error, 1) // done gets one error and is never closed
	go func() {
		_, err := written.commit(g.db)
		done <- err
	}()
	g.batch, g.spare, g.writing = g.spare, written, done
	return nil
}

func (g *growing) wait() error {
	if g.writing == nil {
		return nil
	}
	err := <-g.writing
	g.writing = nil
	return err
}
