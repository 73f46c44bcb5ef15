package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How far the heap grows between two garbage collections. By Go's own rule the heap grows to twice the live bytes: then a
// small registry collects ten times a second under load, and a large registry takes twice the memory that it needs. A registry
// that allocates little needs no large heap to collect seldom: its heap grows by what it allocates in a second (ADR 086), or, since a
// collection of a large heap takes longer, in one second for each 64 MiB that live (ADR 114). The values were chosen by measurement,
// see docs/performance.md.
const (
	restingGrowth  = 16 << 20  // bytes, however little is allocated
	lightPause     = 8         // seconds between two collections under a light load
	lightGrowth    = 40 << 20  // bytes that the heap grows by in a lightPause, at most
	busyGrowth     = 96 << 20  // bytes, however small the heap is, when so much is allocated in a second
	smallHeap      = 128 << 20 // bytes up to which a heap may grow however much is allocated; beyond, it grows by growthPercent at most
	growthPercent  = 60        // of the live bytes; a heap that is not small grows by no more
	restingPercent = 5         // of the live bytes, however little is allocated
	aSecondFor     = 64 << 20  // live bytes for which a collection may come a second later
	mostPercent    = 400
)

// collectorIsOurs says whether the operator has left the collector's settings to us.
func collectorIsOurs() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }

// fewerCollections lets the heap grow further between garbage collections, until the returned function is called. A rebuild
// makes much garbage beside a small heap, and the collections would take a third of the rebuild's time.
func fewerCollections() (as func()) { return collectAt(mostPercent) }

// noCollections stops garbage collections until the returned function is called, or tuneCollector runs. A start makes nearly no garbage beside
// the catalog and the leases, so collections would only look through what is there so far, again and again.
func noCollections() (as func()) { return collectAt(-1) }

func collectAt(percent int) (as func()) {
	if !collectorIsOurs() {
		return func() {}
	}
	before := debug.SetGCPercent(percent)
	return func() { debug.SetGCPercent(before) }
}

// collectorPause is the time between two looks at the collector.
const collectorPause = time.Second

// tuneCollector adapts the collector to the live bytes and to what is allocated, until the context ends. Ticks come each
// collectorPause.
func tuneCollector(ctx context.Context, ticks <-chan time.Time) error {
	if !collectorIsOurs() {
		return nil
	}
	read := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(read)
	allocated := read[1].Value.Uint64()
	load := allocating(busyGrowth)       // the start makes much garbage
	percent, released := 0, releasePause // released is how many ticks ago memory was given back
	for {
		metrics.Read(read)
		live, now := read[0].Value.Uint64(), read[1].Value.Uint64()
		load = load.after(now - allocated)
		allocated = now
		if p := collectAfter(live, read[2].Value.Uint64()+read[3].Value.Uint64(), load); p != percent {
			percent = p
			debug.SetGCPercent(percent)
		}
		if released++; released > releasePause && load.rests() && read[4].Value.Uint64() > max(restingGrowth, live/16) {
			debug.FreeOSMemory()
			released = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
	}
}

// releasePause is how many ticks at least are between two times at which all free memory is given back to the system. That takes a
// collection, and the runtime gives back most, but not all, by itself.
const releasePause = 20

// allocating is how many bytes a second the process allocates, about. It rises at once and falls slowly, so that a load that
// comes and goes does not meet a small heap each time.
type allocating uint64

// after is the rate after a second in which so many bytes were allocated.
func (a allocating) after(bytes uint64) allocating { return max(a-a/4, allocating(bytes)) }

// rests says whether so little is allocated that free memory is not needed soon.
func (a allocating) rests() bool { return lightPause*a < restingGrowth }

// collectAfter is by how many percent a heap with the given live bytes may grow. Go takes these percents of the live bytes and of
// the other bytes that a collection looks through: stacks and global variables.
func collectAfter(live, others uint64, load allocating) int {
	growth := max(restingGrowth, min(lightPause*uint64(load), lightGrowth), uint64(load))
	growth = min(growth, busyGrowth, max(smallHeap, live)-live)
	large := max(restingGrowth, live*restingPercent/100, uint64(float64(load)*float64(live)/aSecondFor))
	growth = max(growth, min(large, live*growthPercent/100))
	return int(min(100*growth/max(live+others, 1), mostPercent))
}
