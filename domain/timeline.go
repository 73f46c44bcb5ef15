package domain

import "time"

// TypeTimelineBegan is the stored name of TimelineBegan.
const TypeTimelineBegan = "TimelineBegan"

// TimelineReason says why a store left its timeline.
type TimelineReason string

// The reasons.
const (
	Restored  TimelineReason = "restore"   // a backup was restored
	TailLost  TimelineReason = "lost-tail" // the newest events of the log were lost, as after a crash of the disk
	Recovered TimelineReason = "recovery"  // an operator went on with one node of a cluster that had lost its majority
	Migrated  TimelineReason = "migration" // the events were copied from another store, which counts their positions otherwise
)

// TimelineBegan says that the log left its timeline. Events of the old timeline after the fork are not in this log, and their
// positions are given again. TimelineBegan is in the registry's stream and is the first event of its timeline (ADR 021).
type TimelineBegan struct {
	Timeline string         `json:"timeline"`
	Parent   string         `json:"parent,omitempty"` // the timeline that was left; "": a store's first
	After    uint64         `json:"after,string"`     // the fork: the last position that both timelines share
	Reason   TimelineReason `json:"reason"`
	Backup   *time.Time     `json:"backup_made_at,omitempty"`    // of a restore
	Lost     uint64         `json:"lost_up_to,string,omitempty"` // of a lost tail: the newest position that is known to have been given
}

// EventType implements Event.
func (TimelineBegan) EventType() string { return TypeTimelineBegan }
