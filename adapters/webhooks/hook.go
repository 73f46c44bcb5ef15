package webhooks

import (
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// hook is a webhook and where its deliveries are. There may be very many: it is kept small. Deliverer.mu guards it.
type hook struct {
	webhook domain.Webhook // as it is to be by now
	host    string         // host and port of its target
	done    eventstore.Position
	state   state
	picks   typeSet

	standing standing  // what its last attempt says of its target
	attempt  int       // attempts made of the event after done
	failing  time.Time // since when every attempt failed; zero: the last one did not
	until    time.Time // when a waiting one goes on
	pausing  bool      // it waits until then when its turn has ended
	place    int       // in the heap of those that wait; -1: in none
	sent     int       // deliveries in the second sentIn, which is Unix time
	sentIn   int64

	queued  bool // it stands in a queue of the schedule
	broken  bool // it cannot be delivered, whatever the target says; the log has a line on it
	gone    bool // it was deleted
	unsaved bool // it stands in Deliverer.unsaved
	saved   record
}

// state is what a webhook is at.
type state uint8

const (
	unplaced state = iota
	idle           // it has been delivered all that it picks, and the follower looks for more
	awaiting       // as idle, but the follower does not look at heartbeats yet
	ready          // something may be due, and it waits for its turn
	underWay       // it has its turn
	waiting        // for its target's pause to end
	stopped        // it is paused, or broken
)

func newHook(w domain.Webhook) *hook {
	h := &hook{webhook: w, place: -1, standing: untried, done: eventstore.Position(w.After), picks: picks(w.Spec.Types)}
	if u, err := url.Parse(w.Spec.URL); err == nil {
		h.host = strings.ToLower(u.Host)
	}
	return h
}

// begin sends a webhook to what comes after a position.
func (h *hook) begin(after eventstore.Position) {
	h.done, h.attempt, h.failing, h.broken, h.pausing = after, 0, time.Time{}, false, false
	if h.state != underWay {
		h.state = unplaced
	}
}

func (h *hook) active() bool { return h.webhook.Exists() && !h.webhook.Paused && !h.broken && !h.gone }

// beats says whether it picks heartbeats.
func (h *hook) beats() bool { return h.picks&heartbeatType != 0 }
