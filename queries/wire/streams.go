package wire

// The names of the events of a stream (text/event-stream).
const (
	StreamSnapshot = "snapshot" // all there is, at the id
	StreamReset    = "reset"    // a snapshot that replaces what the subscriber has: changes in between are not told
	StreamChange   = "change"   // one change
	StreamPanic    = "panic"    // all services that panic, of those that the stream tells of; none: no service does any more
	StreamEvent    = "event"    // of /v1/streams/events: one recorded event
	StreamCut      = "cut"      // the stream ends for the reason given; it can be resumed
)

// StillHere is the comment of a stream that has nothing to tell: what the subscriber has is current. It comes each 15 s, and first when a
// stream goes on after an update and nothing was missed.
const StillHere = "still here"

// Cut is why a stream ends.
type Cut struct {
	Reason string `json:"reason"`
}
