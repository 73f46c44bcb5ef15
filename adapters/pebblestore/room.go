package pebblestore

import "time"

const (
	defaultMinFree = 128 << 20
	roomEvery      = 500 * time.Millisecond // between two looks at the room on the disk
)

// watchRoom looks at the room on the disk, and at the clock, until the store closes.
func (s *Store) watchRoom() {
	t := time.NewTicker(roomEvery)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
			s.lookForRoom()
			s.clock.watch()
		}
	}
}

// lookForRoom refuses appends while there is too little room, and takes them again with a tenth more.
func (s *Store) lookForRoom() {
	usage, err := s.opts.FS.GetDiskUsage(s.dir)
	if err != nil {
		return // a file system that does not say
	}
	need := s.opts.MinFree
	if s.full.Load() {
		need += need / 10
	}
	full := usage.AvailBytes < need
	if s.full.Swap(full) != full {
		if full {
			s.opts.Logger.Error("event store takes no appends until the disk has more room", "free_bytes", usage.AvailBytes, "needed_bytes", need)
		} else {
			s.opts.Logger.Info("event store takes appends again: the disk has room", "free_bytes", usage.AvailBytes)
		}
	}
}
