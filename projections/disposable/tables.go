package disposable

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"
)

// leastTable is how many bytes a table has at least, if there are as many.
const leastTable = 1 << 20

// Ingest hands keys to the engine, all or none, as tables that are written beside one another. at gives the ith key of n and its
// value, which stay as they are until Ingest returns. No table has keys on both sides of an index in ends, which are in order. REQUIRES:
// the keys are in order, and none comes twice.
func (db *DB) Ingest(n int, ends []int, at func(i int) (key, value []byte)) (err error) {
	if err := db.Err(); err != nil || n == 0 {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	defer db.outcome(&err)
	total := 0
	for i := range n {
		key, value := at(i)
		total += len(key) + len(value)
	}
	each := max(total/runtime.GOMAXPROCS(0)+1, leastTable)
	var writing errgroup.Group
	var paths []string
	for begin := 0; begin < n; {
		end, most := begin, n
		for len(ends) > 0 && ends[0] <= begin {
			ends = ends[1:]
		}
		if len(ends) > 0 {
			most = ends[0]
		}
		for size := 0; end < most && size < each; end++ {
			key, value := at(end)
			size += len(key) + len(value)
		}
		first, path := begin, db.gate.PathJoin(db.dir, fmt.Sprintf("ingest-%d.tmp", len(paths)))
		writing.Go(func() error { return db.writeTable(path, first, end, at) })
		paths, begin = append(paths, path), end
	}
	if err := writing.Wait(); err != nil {
		return err
	}
	return db.DB.Ingest(context.Background(), paths)
}

func (db *DB) writeTable(path string, begin, end int, at func(i int) (key, value []byte)) error {
	file, err := db.gate.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), db.engine.MakeWriterOptions(len(db.engine.Levels)-1, db.FormatMajorVersion().MaxTableFormat()))
	for i := begin; i < end && err == nil; i++ {
		err = w.Set(at(i))
	}
	return errors.Join(err, w.Close())
}
