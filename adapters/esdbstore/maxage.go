package esdbstore

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// maxWanted is how many streams may wait for their $maxAge; one that finds no place waits for its next
// heartbeat.
const maxWanted = 4096

// ages gives each heartbeat stream its $maxAge once, beside the appends.
type ages struct {
	store  *Store
	known  sync.Map                   // streams that have it, or are about to
	wanted chan eventstore.StreamName // never closed
}

func newAges(s *Store) *ages {
	return &ages{store: s, wanted: make(chan eventstore.StreamName, maxWanted)}
}

func (a *ages) want(stream eventstore.StreamName) {
	if a.store.opts.Retention <= 0 {
		return
	}
	if _, known := a.known.LoadOrStore(stream, struct{}{}); known {
		return
	}
	select {
	case a.wanted <- stream:
	default:
		a.known.Delete(stream)
	}
}

func (a *ages) run() {
	for {
		select {
		case <-a.store.closing:
			return
		case stream := <-a.wanted:
			if err := a.set(stream); err != nil {
				a.known.Delete(stream) // its next heartbeat asks again
				if !errors.Is(err, eventstore.ErrClosed) {
					a.store.opts.Logger.Warn("a heartbeat stream's $maxAge could not be set", "stream", stream, "cause", err)
				}
			}
		}
	}
}

// streamMetadata is the part of a stream's metadata that is set here, in the form of the database.
type streamMetadata struct {
	MaxAge int64 `json:"$maxAge"` // seconds
}

func (a *ages) set(stream eventstore.StreamName) error {
	metadata := "$$" + stream
	want := streamMetadata{int64(a.store.opts.Retention.Round(time.Second) / time.Second)}
	for e, err := range a.store.reading(a.store.lives, readStreamRequest(metadata, eventstore.FromEnd, true, 1)) {
		if err != nil {
			return err
		}
		var was streamMetadata
		if json.Unmarshal(e.GetEvent().GetData(), &was) == nil && was == want {
			return nil
		}
	}
	data, err := json.Marshal(want)
	if err != nil {
		return err
	}
	_, err = a.store.Append(a.store.lives, nil, eventstore.AppendRequest{
		Stream: metadata, Events: []eventstore.EventData{{Type: "$metadata", Data: data}},
	})
	return err
}
