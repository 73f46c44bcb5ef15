package pebblestore

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// maxCorrection is the largest difference between the wall clock and the store's time that is followed at once. A
	// time service makes corrections of this size.
	maxCorrection = time.Minute
	// stableFor is how long a wall clock that is further away must stay there before the store takes its time.
	stableFor = 10 * time.Second
	// tolerance is by how much the offset of a wall clock that stays where it is may differ between two looks.
	tolerance = time.Second
)

// clock gives the times at which events are recorded. Its time follows the monotonic clock and is set to the wall clock
// at every look. A wall clock that is far off may be an error of a person, or a host that just woke up. The clock takes
// such a time only after the wall clock has stayed there, and the process log says so (ADR 022).
//
// INVARIANT: recorded times never decrease. If the newest recorded time is later than the clock's time, as after a wrong
// clock was taken and put right, recorded times go on at half speed until the clock has caught up. They then still tell
// events apart, and the error shrinks.
type clock struct {
	wall   func() time.Time
	mono   func() time.Duration
	logger *slog.Logger

	mu     sync.Mutex
	now    int64         // the store's time at the newest look, Unix nanoseconds
	at     time.Duration // when the newest look was, on mono
	far    bool          // the wall clock is far off
	offset time.Duration // of the wall clock from now, while it is far off
	since  time.Duration // when the wall clock was first seen at that offset, on mono
	last   int64         // newest recorded time, Unix nanoseconds
	lastAt time.Duration // when last was given, on mono
}

// start sets the clock to the wall clock. newest is the newest recorded time in the store, Unix nanoseconds.
func (c *clock) start(newest int64) {
	c.at, c.now = c.mono(), c.wall().UnixNano()
	c.last, c.lastAt = newest, c.at
	if ahead := time.Duration(newest - c.now); ahead > maxCorrection {
		c.logger.Warn("the newest event was recorded in the future: this machine's clock is behind, or it was ahead. "+
			"Events are recorded after that event's time, at half speed, until the clock has caught up",
			"newest", time.Unix(0, newest).UTC(), "clock", time.Unix(0, c.now).UTC(), "ahead", ahead)
	}
}

// look brings the clock to the present. REQUIRES: the caller holds mu.
func (c *clock) look() {
	at, wall := c.mono(), c.wall().UnixNano()
	c.now, c.at = c.now+int64(at-c.at), at
	offset := time.Duration(wall - c.now)
	if offset.Abs() <= maxCorrection {
		if c.far {
			c.logger.Warn("the wall clock is back where it was; its step was not followed", "clock", time.Unix(0, wall).UTC())
		}
		c.now, c.far = wall, false
		return
	}
	if !c.far || (offset-c.offset).Abs() > tolerance {
		if !c.far {
			c.logger.Warn("the wall clock stepped; its time is taken if it stays there", "by", offset, "clock", time.Unix(0, wall).UTC())
		}
		c.far, c.offset, c.since = true, offset, at
		return
	}
	if at-c.since >= stableFor {
		c.logger.Warn("the wall clock stayed where it stepped to: its time is taken", "by", offset, "clock", time.Unix(0, wall).UTC())
		c.now, c.far = wall, false
	}
}

// watch looks at the clock. It is called regularly, so that a step is noticed also while no event is recorded.
func (c *clock) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
}

// stamp gives the time for an event that is recorded now, Unix nanoseconds.
func (c *clock) stamp() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if c.now < c.last {
		c.last += int64(max(c.at-c.lastAt, 0)) / 2
	}
	c.last, c.lastAt = max(c.last, c.now), c.at
	return c.last
}

// heard notes the time of a block of a replica's log, Unix nanoseconds.
func (c *clock) heard(at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at > c.last {
		c.last, c.lastAt = at, c.mono()
	}
}

// recorded notes the time of an event that comes from another store, Unix nanoseconds.
func (c *clock) recorded(at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = at
}

// present is the time now, but never before the newest recorded time. What was called now counts as recorded: whatever is recorded
// afterwards is not before it, so that what was answered about a moment up to now stays true after the wall clock was set back.
func (c *clock) present() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if c.now > c.last {
		c.last, c.lastAt = c.now, c.at
	}
	return time.Unix(0, c.last).UTC()
}

// ahead says whether the newest recorded time is so far ahead of the clock that no correction explains it.
func (c *clock) ahead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return time.Duration(c.last-c.now) > maxCorrection
}
