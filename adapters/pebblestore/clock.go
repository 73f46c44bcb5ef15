package pebblestore

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// nearby is how far the wall clock may be from the store's time to be followed at once, as when a time
	// service corrects it.
	nearby = time.Minute
	// settled is how long a wall clock that is further away must stay there before the store takes its time.
	settled = 10 * time.Second
	// agreement is how far two looks at a clock that stays where it is may differ, besides the time between them.
	agreement = time.Second
)

// clock tells when events are recorded. Its time goes with the monotonic clock and is set to the wall clock at
// every look. A wall clock that is far off may be a slip, of someone's hand or of a host that just woke up: it is
// taken only after it stayed there, and the log of the process says so.
//
// Recorded times never decrease. If the newest one is later than the clock's time, as after a wrong clock was taken
// and put right, the next ones go at half speed until the clock has caught up: so they still tell one event
// from the other, and the error shrinks.
type clock struct {
	wall   func() time.Time
	mono   func() time.Duration
	logger *slog.Logger

	mu     sync.Mutex
	now    int64         // Unix nanoseconds, when mono was at
	at     time.Duration // of the newest look
	far    bool          // the wall clock is far off
	offset time.Duration // of the wall clock from now, since it is far off
	since  time.Duration // when it was first seen there
	last   int64         // newest recorded time, Unix nanoseconds
	lastAt time.Duration // when it was given, on mono
}

// start sets the clock to the wall clock; the newest recorded time is known.
func (c *clock) start(newest int64) {
	c.at, c.now = c.mono(), c.wall().UnixNano()
	c.last, c.lastAt = newest, c.at
	if ahead := time.Duration(newest - c.now); ahead > nearby {
		c.logger.Warn("the newest event was recorded in the future: this machine's clock is behind, or it was ahead. "+
			"Events are recorded after that event's time, at half speed, until the clock has caught up",
			"newest", time.Unix(0, newest).UTC(), "clock", time.Unix(0, c.now).UTC(), "ahead", ahead)
	}
}

// look brings the clock to the present. The caller holds mu.
func (c *clock) look() {
	at, wall := c.mono(), c.wall().UnixNano()
	c.now, c.at = c.now+int64(at-c.at), at
	offset := time.Duration(wall - c.now)
	if offset.Abs() <= nearby {
		if c.far {
			c.logger.Warn("the wall clock is back where it was; its step was not followed", "clock", time.Unix(0, wall).UTC())
		}
		c.now, c.far = wall, false
		return
	}
	if !c.far || (offset-c.offset).Abs() > agreement {
		if !c.far {
			c.logger.Warn("the wall clock stepped; its time is taken if it stays there", "by", offset, "clock", time.Unix(0, wall).UTC())
		}
		c.far, c.offset, c.since = true, offset, at
		return
	}
	if at-c.since >= settled {
		c.logger.Warn("the wall clock stayed where it stepped to: its time is taken", "by", offset, "clock", time.Unix(0, wall).UTC())
		c.now, c.far = wall, false
	}
}

// watch looks at the clock, so that a step is judged by what the clock did, also while nothing is recorded.
func (c *clock) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
}

// stamp is the time for what is recorded now.
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

// recorded notes a time that came from another store.
func (c *clock) recorded(at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = at
}

// present is the time now, and never before the newest recorded one.
func (c *clock) present() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return time.Unix(0, max(c.now, c.last)).UTC()
}

// ahead says whether the newest recorded time is further ahead of the clock than a clock's correction explains.
func (c *clock) ahead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return time.Duration(c.last-c.now) > nearby
}
