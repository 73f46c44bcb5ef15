package esdbstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// ageRoom is how many streams may wait for their $maxAge; one that finds no room waits for its next
// heartbeat.
const ageRoom = 4096

// ages gives each heartbeat stream its $maxAge once, beside the appends.
type ages struct {
	store  *Store
	known  sync.Map                   // streams that have it, or are about to
	wanted chan eventstore.StreamName // never closed
}

func newAges(s *Store) *ages {
	return &ages{store: s, wanted: make(chan eventstore.StreamName, ageRoom)}
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

func (a *ages) set(stream eventstore.StreamName) error {
	client, err := a.store.connection()
	if err != nil {
		return err
	}
	retention := a.store.opts.Retention.Round(time.Second)
	_, err = run(a.store, a.store.lives, func(ctx context.Context) (struct{}, error) {
		was, err := client.GetStreamMetadata(ctx, string(stream), esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}})
		var coded *esdb.Error
		if err != nil && !(errors.As(err, &coded) && coded.Code() == esdb.ErrorCodeResourceNotFound) {
			return struct{}{}, err
		}
		if err == nil && was.MaxAge() != nil && *was.MaxAge() == retention {
			return struct{}{}, nil
		}
		var metadata esdb.StreamMetadata
		metadata.SetMaxAge(retention)
		_, err = client.SetStreamMetadata(ctx, string(stream), esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, metadata)
		return struct{}{}, err
	})
	return err
}
