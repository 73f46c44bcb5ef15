package disposable

import (
	"math"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Apart says which values the engine keeps apart from their keys, in files that no merge writes again.
//
// INVARIANT: the engine's own goroutines read no file of values. Over a damaged one they would panic. So files of values are never merged,
// however many of them a table refers to and however much of them is garbage. REQUIRES: large values are never replaced or removed.
type Apart struct {
	From int // bytes of a value; 0: none is kept apart
	// Flush is how many bytes of memtables are enough for a file of values. The values of a smaller flush stay in the tables, which merges make
	// larger: a folder that takes little is written to disk every minute all the same, and would have half a million files after a year.
	Flush uint64
}

// keep sets the engine's policy. REQUIRES: the engine's listener is set.
func (a Apart) keep(engine *pebble.Options) {
	var small atomic.Bool // whether the flush that began last is small; one runs at a time
	engine.EventListener.FlushBegin = func(info pebble.FlushInfo) { small.Store(info.InputBytes < a.Flush) }
	engine.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		least := a.From
		if small.Load() { // a merge that begins meanwhile may leave values in its tables, too
			least = math.MaxInt
		}
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: least, MaxBlobReferenceDepth: math.MaxInt32, TargetGarbageRatio: 1}
	}
}
