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
type memtableBatch struct{ *pebble.Batch }

func (b memtableBatch) commit(db *disposable.DB) (batch, error) {
	if err := db.Commit(b.Batch); err != nil {
		return b, err
	}
	return memtableBatch{db.NewBatch()}, nil
}

// tableBatch becomes tables of the engine without going through its memory, where each key would be inserted, and then written
// and compressed twice. Of many keys, as a rebuild has them, that is most of the cost.
type tableBatch struct {
	keys []pair
	data []byte // the current piece of memory for keys and values
}

type pair struct{ key, value []byte }

// tablePiece is how much memory is taken at once for keys and values.
const tablePiece = 1 << 20

func (b *tableBatch) Set(key, value []byte, _ *pebble.WriteOptions) error {
	if n := len(key) + len(value); n > cap(b.data)-len(b.data) {
		b.data = make([]byte, 0, max(n, tablePiece))
	}
	begin := len(b.data)
	b.data = append(append(b.data, key...), value...)
	middle, end := begin+len(key), len(b.data)
	b.keys = append(b.keys, pair{b.data[begin:middle:middle], b.data[middle:end:end]})
	return nil
}

func (b *tableBatch) commit(db *disposable.DB) (batch, error) {
	// The keys of each range came in order, so this is little work.
	slices.SortFunc(b.keys, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	err := db.Ingest(len(b.keys), func(i int) (key, value []byte) { return b.keys[i].key, b.keys[i].value })
	return &tableBatch{}, err
}
