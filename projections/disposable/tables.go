package disposable

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"
)

// leastTable is how many bytes a table has at least, if there are as many.
const leastTable = 1 << 20

// Run is some keys of Ingest, from where the run before ends, that have tables of their own.
type Run struct {
	End    int
	Random bool // the values cannot be compressed
}

// Ingest hands the keys of runs to the engine, all or none, as tables that are written beside one another. at gives the ith key and its
// value, which stay as they are until Ingest returns. REQUIRES: the keys are in order, and none comes twice.
func (db *DB) Ingest(runs []Run, at func(i int) (key, value []byte)) (err error) {
	if err := db.Err(); err != nil || len(runs) == 0 {
		return err
	}
	total := 0
	for i := range runs[len(runs)-1].End {
		key, value := at(i)
		total += len(key) + len(value)
	}
	each := max(total/runtime.GOMAXPROCS(0)+1, leastTable)
	var writing errgroup.Group
	var paths []string
	begin := 0
	for _, run := range runs {
		for begin < run.End {
			end := begin
			for size := 0; end < run.End && size < each; end++ {
				key, value := at(end)
				size += len(key) + len(value)
			}
			first, path := begin, db.gate.PathJoin(db.dir, fmt.Sprintf("ingest-%d.tmp", db.tables.Add(1)))
			writing.Go(func() error { return db.writeTable(path, first, end, run.Random, at) })
			paths, begin = append(paths, path), end
		}
	}
	if err := writing.Wait(); err != nil {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	defer db.outcome(&err)
	return db.DB.Ingest(context.Background(), paths)
}

func (db *DB) writeTable(path string, begin, end int, random bool, at func(i int) (key, value []byte)) error {
	file, err := db.gate.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	options := db.engine.MakeWriterOptions(len(db.engine.Levels)-1, db.FormatMajorVersion().MaxTableFormat())
	if random {
		options.Compression = block.NoCompression
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), options)
	for i := begin; i < end && err == nil; i++ {
		err = w.Set(at(i))
	}
	return errors.Join(err, w.Close())
}
