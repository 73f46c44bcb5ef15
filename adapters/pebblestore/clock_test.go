package pebblestore_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// clocks are a machine's: the wall clock goes with the monotonic one until someone sets it.
type clocks struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration
}

func (c *clocks) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.mono = c.wall.Add(d), c.mono+d
}

func (c *clocks) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

func (c *clocks) options(fs vfs.FS, log *bytes.Buffer) pebblestore.Options {
	return pebblestore.Options{
		FS: fs, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.wall
		},
		Monotonic: func() time.Duration {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.mono
		},
	}
}

const (
	second = time.Second
	hour   = time.Hour
	year   = 365 * 24 * time.Hour
)

// What is recorded follows the monotonic clock, and a wall clock that stepped far only after it stayed there.
func TestRecordedAtFollowsAWallClockThatStays(t *testing.T) {
	type move struct {
		pass, step time.Duration
		want       time.Duration // recorded_at after it, since the start
	}
	for name, moves := range map[string][]move{
		"a clock that goes":              {{second, 0, 1 * second}, {hour, 0, hour + second}},
		"a correction forward":           {{second, 30 * second, 31 * second}, {second, 0, 32 * second}},
		"a correction back":              {{10 * second, 0, 10 * second}, {0, -4 * second, 10 * second}, {2 * second, 0, 11 * second}, {2 * second, 0, 12 * second}, {4 * second, 0, 14 * second}, {6 * second, 0, 20 * second}},
		"a slip of years":                {{second, year, second}, {2 * second, 0, 3 * second}, {2 * second, -year, 5 * second}, {second, 0, 6 * second}},
		"years ahead that stay":          {{second, year, second}, {5 * second, 0, 6 * second}, {4 * second, 0, 10 * second}, {second, 0, year + 11*second}, {second, 0, year + 12*second}},
		"hours back that stay":           {{second, -3 * hour, second}, {9 * second, 0, 10 * second}, {second, 0, 10*second + second/2}, {hour, 0, 10*second + second/2 + hour/2}},
		"a clock that flaps":             {{second, year, second}, {6 * second, -year, 7 * second}, {second, year, 8 * second}, {6 * second, 0, 14 * second}, {6 * second, -year, 20 * second}},
		"a clock that wanders":           {{second, year, second}, {6 * second, hour, 7 * second}, {6 * second, hour, 13 * second}, {6 * second, 0, 19 * second}, {5 * second, 0, year + 2*hour + 24*second}},
		"years ahead that are put right": {{second, year, second}, {11 * second, 0, year + 12*second}, {0, -year, year + 12*second}, {4 * second, 0, year + 16*second}, {8 * second, 0, year + 20*second}, {10 * second, 0, year + 25*second}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			c := &clocks{wall: start}
			var log bytes.Buffer
			s := open(t, "data", c.options(vfs.NewMem(), &log))
			for i, m := range moves {
				c.pass(m.pass)
				c.step(m.step)
				position := appendOne(t, s, stream(1))
				for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{After: position - 1}) {
					if err != nil {
						t.Fatal(err)
					}
					if got := e.RecordedAt.Sub(start); got != m.want {
						t.Errorf("move %d: recorded after %s, want %s", i+1, got, m.want)
					}
					if now := s.Now(); now.Before(e.RecordedAt) {
						t.Errorf("move %d: it is %s, before the newest event", i+1, now)
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			steps := strings.Count(log.String(), "wall clock stepped")
			if far := name != "a clock that goes" && !strings.Contains(name, "correction"); far != (steps > 0) {
				t.Errorf("the process log says\n%s", log.String())
			}
		})
	}
}

func TestAStoreFromTheFutureSaysSoAndGoesOn(t *testing.T) {
	future := time.Date(2036, 3, 1, 12, 0, 0, 0, time.UTC)
	fs, c := vfs.NewMem(), &clocks{wall: future}
	var log bytes.Buffer
	s := open(t, "data", c.options(fs, &log))
	old := appendOne(t, s, heartbeats(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "future") {
		t.Errorf("the process log says\n%s", log.String())
	}
	c.step(-10 * year)
	s = open(t, "data", c.options(fs, &log))
	if !strings.Contains(log.String(), "recorded in the future") {
		t.Errorf("the process log says\n%s", log.String())
	}
	if now := s.Now(); !now.Equal(future) {
		t.Errorf("it is %s, want the newest event's time", now)
	}
	// Its heartbeats are removed all the same, when they are old by what passed since.
	for range 40 {
		c.pass(30 * second)
		appendOne(t, s, stream(1))
	}
	if upTo, err := s.Retain(15 * time.Minute); err != nil || upTo > old {
		t.Errorf("after 20 minutes at half speed, a retention of 15 removed up to %d, %v", upTo, err)
	}
	if upTo, err := s.Retain(8 * time.Minute); err != nil || upTo <= old {
		t.Errorf("after 20 minutes at half speed, a retention of 8 removed up to %d, %v", upTo, err)
	}
}

// What was called now is not after what is recorded later, so that answers about moments up to now stay true.
func TestNothingIsRecordedBeforeATimeThatWasCalledNow(t *testing.T) {
	for _, back := range []time.Duration{-time.Second, -50 * time.Second, -3 * hour} {
		c := &clocks{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		var log bytes.Buffer
		s := open(t, "data", c.options(vfs.NewMem(), &log))
		appendOne(t, s, stream(1))
		c.pass(hour)
		told := s.Now()
		c.step(back)
		for range 30 {
			c.pass(second / 2)
			if now := s.Now(); now.Before(told) {
				t.Errorf("a step by %s: it was %s, and is %s", back, told, now)
			}
		}
		position := appendOne(t, s, stream(1))
		for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{After: position - 1}) {
			if err != nil || !e.RecordedAt.After(told) {
				t.Errorf("a step by %s: it was %s, and then an event was recorded at %s, %v", back, told, e.RecordedAt, err)
			}
		}
	}
}

// A replica whose clock is behind that of the leader goes on at half speed from the newest block when it leads, not from when it stamped
// an event itself.
func TestANewLeaderWhoseClockIsBehindStampsNoTimeOfTheFuture(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &clocks{wall: start}
	var log bytes.Buffer
	options := c.options(vfs.NewMem(), &log)
	options.Replica = true
	s := open(t, "data", options)
	c.pass(10 * hour)
	ahead := start.Add(10*hour + 7*time.Minute)
	block := pebblestore.Block{At: ahead.UnixNano(), Requests: []eventstore.AppendRequest{{Stream: stream(1), Events: []eventstore.EventData{beat}}}, Mark: []byte("1")}
	if _, err := s.Apply(nil, &block); err != nil {
		t.Fatal(err)
	}
	c.pass(4 * second)
	if got, want := time.Unix(0, s.Stamp()).UTC(), ahead.Add(2*second); !got.Equal(want) {
		t.Errorf("four seconds after a block of %s it stamps %s, want %s", ahead, got, want)
	}
}
