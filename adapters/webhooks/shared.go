package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Notes keeps positions where every node of a cluster finds them. Only the node that delivers writes notes.
type Notes interface {
	// Notes gives the notes whose names begin with a prefix.
	Notes(ctx context.Context, prefix string) (map[string][]byte, error)
	// Note keeps notes, all of them or none. A value of nil removes the note.
	Note(ctx context.Context, notes map[string][]byte) error
}

// notePrefix begins the names of the notes. The id of the webhook follows; nothing follows in the name of the follower's note.
const notePrefix = "webhook/"

// savingTimeout is how long a saving waits for the other nodes.
const savingTimeout = 2 * time.Second

// OpenShared reads positions that are kept as notes.
func OpenShared(ctx context.Context, notes Notes) (*Positions, error) {
	p := &Positions{notes: notes, saved: make(map[string]record)}
	found, err := notes.Notes(ctx, notePrefix)
	if err != nil {
		return nil, fmt.Errorf("positions of webhooks: %w", err)
	}
	for name, text := range found {
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("positions of webhooks: note %s: %w", name, err)
		}
		if r.Webhook == "" {
			p.place = &r.Position
			continue
		}
		p.saved[r.Webhook] = r
	}
	return p, nil
}

// note saves the changes as notes, and with them what could not be saved before.
func (p *Positions) note(c changes) error {
	records := append(slices.Clip(c.records), record{Position: c.followed})
	for _, r := range c.records {
		if r.Gone {
			p.forgotten = append(p.forgotten, r.Webhook)
		}
	}
	if p.behind {
		records = append(c.all(), record{Position: c.followed})
	}
	notes := make(map[string][]byte, len(records))
	for _, r := range records {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		notes[notePrefix+r.Webhook] = text
	}
	for _, id := range p.forgotten {
		notes[notePrefix+id] = nil
	}
	p.behind = true
	ctx, cancel := context.WithTimeout(context.Background(), savingTimeout)
	defer cancel()
	if err := p.notes.Note(ctx, notes); err != nil {
		return err
	}
	p.behind, p.forgotten = false, nil
	return nil
}

// CopyTo saves the positions that were read in another place, where none are. REQUIRES: no webhook's deliveries have begun.
func (p *Positions) CopyTo(other *Positions) error {
	all := func() (records []record) {
		for _, r := range p.saved {
			records = append(records, r)
		}
		return records
	}
	if p.place == nil && len(p.saved) == 0 {
		return nil
	}
	place := wire.Position{}
	if p.place != nil {
		place = *p.place
	}
	return other.append(changes{records: all(), followed: place, hooks: len(p.saved), all: all})
}
