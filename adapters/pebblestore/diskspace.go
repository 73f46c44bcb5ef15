package pebblestore

import "time"

const (
	defaultMinFree = 128 << 20
	checkEvery     = 500 * time.Millisecond // between two checks of the free disk space
)

// watchSpace checks the free disk space and the clock until the store closes.
func (s *Store) watchSpace() {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
			s.checkSpace()
			s.clock.watch()
		}
	}
}

// checkSpace has appends refused while the disk has less than MinFree, and taken again from a tenth more on. The
// difference keeps the store from changing its mind at every check.
func (s *Store) checkSpace() {
	usage, err := s.opts.FS.GetDiskUsage(s.dir)
	if err != nil {
		return // the file system does not say how much is free
	}
	need := s.opts.MinFree
	if s.full.Load() {
		need += need / 10
	}
	full := usage.AvailBytes < need
	if s.full.Swap(full) != full {
		if full {
			s.opts.Logger.Error("event store takes no appends until the disk has more free space", "free_bytes", usage.AvailBytes, "needed_bytes", need)
		} else {
			s.opts.Logger.Info("event store takes appends again: the disk has free space", "free_bytes", usage.AvailBytes)
		}
	}
}
