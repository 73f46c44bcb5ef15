package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How far the heap grows between two garbage collections. By Go's own rule the heap grows to twice the live bytes: then a
// small registry collects ten times a second under load, and a large registry takes twice the memory that it needs. The
// values were chosen by measurement, see docs/performance.md.
const (
	leastGrowth   = 96 << 20 // bytes, however small the heap is
	growthPercent = 40       // of the live bytes, if that is more than leastGrowth
	mostPercent   = 400
)

// collectorIsOurs says whether the operator has left the collector's settings to us.
func collectorIsOurs() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }

// fewerCollections lets the heap grow further between garbage collections, until the returned function is called. A rebuild
// makes much garbage beside a small heap, and the collections would take a third of the rebuild's time.
func fewerCollections() (as func()) {
	if !collectorIsOurs() {
		return func() {}
	}
	before := debug.SetGCPercent(mostPercent)
	return func() { debug.SetGCPercent(before) }
}

// tuneCollector adapts the collector to the live bytes until the context ends.
func tuneCollector(ctx context.Context, ticks <-chan time.Time) error {
	if !collectorIsOurs() {
		return nil
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent := 0
	for {
		metrics.Read(live)
		if p := collectAfter(live[0].Value.Uint64()); p != percent {
			percent = p
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
	}
}

// collectAfter is by how many percent a heap with the given live bytes may grow.
func collectAfter(live uint64) int {
	return int(min(max(100*leastGrowth/max(live, 1), growthPercent), mostPercent))
}
