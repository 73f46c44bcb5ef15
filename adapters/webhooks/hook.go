package webhooks

import (
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// hook is a webhook and the state of its deliveries. There may be very many hooks, so a hook is small. Deliverer.mu guards
// every hook.
type hook struct {
	webhook domain.Webhook // as its events have made it
	host    string         // host and port of the target
	done    eventstore.Position
	state   state
	picks   typeSet

	standing standing  // what the last attempt says of the target
	attempt  int       // attempts made of the event after done
	failing  time.Time // since when every attempt has failed; zero: the last attempt did not fail
	until    time.Time // when a hook that waits goes on
	pausing  bool      // the hook waits for until when the turn has ended
	place    int       // index in the heap of the hooks that wait; -1: the hook is not in the heap
	sent     int       // number of deliveries in the second sentIn, which is Unix time
	sentIn   int64

	queued  bool // the hook is in a queue of the schedule
	broken  bool // nothing can be delivered, whatever the target answers; the log has said why
	gone    bool // the webhook was deleted
	unsaved bool // the hook is in Deliverer.unsaved
	saved   record
}

// state is what a webhook's deliveries are doing.
type state uint8

const (
	unplaced state = iota
	idle           // all events that the webhook picks are delivered, and the follower looks for more
	awaiting       // as idle, for a webhook that picks heartbeats, while the follower does not read heartbeats yet
	ready          // an event may be due, and the webhook waits for its turn
	underWay       // the webhook has its turn
	waiting        // the webhook waits until its pause ends
	stopped        // the webhook is paused or broken
)

func newHook(w domain.Webhook) *hook {
	h := &hook{webhook: w, place: -1, standing: untried, done: eventstore.Position(w.After), picks: picks(w.Spec.Types)}
	if u, err := url.Parse(w.Spec.URL); err == nil {
		h.host = strings.ToLower(u.Host)
	}
	return h
}

// begin lets a webhook's deliveries begin with the first event after a position.
func (h *hook) begin(after eventstore.Position) {
	h.done, h.attempt, h.failing, h.broken, h.pausing = after, 0, time.Time{}, false, false
	if h.state != underWay {
		h.state = unplaced
	}
}

func (h *hook) active() bool { return h.webhook.Exists() && !h.webhook.Paused && !h.broken && !h.gone }

// beats says whether the webhook picks heartbeats.
func (h *hook) beats() bool { return h.picks&heartbeatType != 0 }
