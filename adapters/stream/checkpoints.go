package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Checkpoints keeps consumers' positions in a folder, one file each. One process may use a folder.
type Checkpoints struct {
	dir string

	mu   sync.Mutex
	held map[string]chan struct{} // by consumer; closed when it is let go
}

// OpenCheckpoints uses a folder, and creates it when there is none.
func OpenCheckpoints(dir string) (*Checkpoints, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	return &Checkpoints{dir: dir, held: make(map[string]chan struct{})}, nil
}

// acquire waits until nobody else delivers for the consumer.
func (c *Checkpoints) acquire(ctx context.Context, consumer string) (release func(), err error) {
	for {
		c.mu.Lock()
		free, taken := c.held[consumer]
		if !taken {
			mine := make(chan struct{})
			c.held[consumer] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.held, consumer)
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type checkpoint struct {
	Consumer string              `json:"consumer"`
	Position eventstore.Position `json:"position,string"`
	Timeline string              `json:"timeline,omitempty"` // of the source, where it has told one
}

func (c *Checkpoints) path(consumer string) string {
	return filepath.Join(c.dir, url.QueryEscape(consumer)+".json")
}

// Load is a consumer's position; ok is false when it has none.
func (c *Checkpoints) Load(consumer string) (p wire.Position, ok bool, err error) {
	b, err := os.ReadFile(c.path(consumer))
	if errors.Is(err, os.ErrNotExist) {
		return p, false, nil
	}
	var saved checkpoint
	if err == nil {
		err = json.Unmarshal(b, &saved)
	}
	if err != nil {
		return p, false, fmt.Errorf("checkpoint of %s: %w", consumer, err)
	}
	return wire.Position{Timeline: saved.Timeline, Number: saved.Position}, true, nil
}

// Save keeps a consumer's position. It is there whole, or the one before is.
func (c *Checkpoints) Save(consumer string, p wire.Position) error {
	b, err := json.Marshal(checkpoint{consumer, p.Number, p.Timeline})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(c.path(consumer), b, 0o640); err != nil {
		return fmt.Errorf("checkpoint of %s: %w", consumer, err)
	}
	return nil
}

// Forget removes a consumer's position.
func (c *Checkpoints) Forget(consumer string) error {
	if err := os.Remove(c.path(consumer)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
