package stream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Checkpoints keeps consumers' positions in a folder, one file each, or as notes (SharedCheckpoints). One process may use a
// folder.
type Checkpoints struct {
	dir   string
	notes Notes // keeps the positions instead of the folder; nil: the folder does

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

// Notes keeps positions where every node of a cluster finds them. Only the node that delivers writes notes.
type Notes interface {
	// Notes gives the notes whose names begin with a prefix.
	Notes(ctx context.Context, prefix string) (map[string][]byte, error)
	// Note keeps notes, all of them or none.
	Note(ctx context.Context, notes map[string][]byte) error
}

// notePrefix begins the name of a note. The name of the consumer follows.
const notePrefix = "consumer/"

// SharedCheckpoints keeps positions as notes.
func SharedCheckpoints(notes Notes) *Checkpoints {
	return &Checkpoints{notes: notes, held: make(map[string]chan struct{})}
}

// CheckpointName is the name under which the position of a consumer in a topic is kept.
func CheckpointName(consumer, topic string) string { return consumer + "/" + topic }

// CopyTo saves the positions that are kept as notes in another place.
func (c *Checkpoints) CopyTo(other *Checkpoints) error {
	found, err := c.notes.Notes(context.Background(), notePrefix)
	for note := range found {
		name := strings.TrimPrefix(note, notePrefix)
		at, _, failed := c.Load(name)
		if failed == nil {
			failed = other.Save(name, at)
		}
		err = errors.Join(err, failed)
	}
	return err
}

// savingTimeout is how long a save waits for the other nodes.
const savingTimeout = 2 * time.Second

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

// checkpoint is the content of a file. Files of earlier versions have no sum.
type checkpoint struct {
	Consumer string              `json:"consumer"`
	Position eventstore.Position `json:"position,string"`
	Timeline string              `json:"timeline,omitempty"` // of the source, where it has told one
	Sum      string              `json:"sum,omitempty"`      // CRC-32 of the other fields, in hexadecimal digits
}

func (c checkpoint) sum() string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(fmt.Appendf(nil, "%q %d %q", c.Consumer, c.Position, c.Timeline)))
}

// longestName is the length in bytes of the longest file name that has the consumer's name as it is. File systems take 255.
const longestName = 200

func (c *Checkpoints) path(consumer string) string {
	name := url.QueryEscape(consumer)
	if len(name) > longestName {
		name = fmt.Sprintf("%s-%x", name[:longestName/2], sha256.Sum256([]byte(consumer)))
	}
	return filepath.Join(c.dir, name+".json")
}

// Lost is the error of a checkpoint that is there and cannot be used. Its file is put aside.
type Lost struct {
	Consumer string
	Aside    string // where the file is now
	Cause    error
}

func (l Lost) Error() string {
	return fmt.Sprintf("checkpoint of %s cannot be read, and is put aside as %s: %v", l.Consumer, l.Aside, l.Cause)
}

func (l Lost) Unwrap() error { return l.Cause }

// Load is a consumer's position; ok is false when it has none. A file that cannot be read, or that holds anything else than
// what Save wrote, is put aside under its name with .bad, and the error is a Lost. The next Load finds no position then.
func (c *Checkpoints) Load(consumer string) (p wire.Position, ok bool, err error) {
	if c.notes != nil {
		return c.noted(consumer)
	}
	path := c.path(consumer)
	b, err := durable.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, false, nil
	}
	var saved checkpoint
	if err == nil {
		saved, err = parseCheckpoint(b, consumer)
	}
	if err != nil {
		aside := path + ".bad"
		if moved := errors.Join(os.RemoveAll(aside), os.Rename(path, aside)); moved != nil {
			return p, false, fmt.Errorf("checkpoint of %s cannot be read, nor put aside: %w", consumer, errors.Join(err, moved))
		}
		return p, false, Lost{consumer, aside, err}
	}
	return wire.Position{Timeline: saved.Timeline, Number: saved.Position}, true, nil
}

// noted is Load from a note.
func (c *Checkpoints) noted(consumer string) (p wire.Position, ok bool, err error) {
	found, err := c.notes.Notes(context.Background(), notePrefix+consumer)
	if err != nil {
		return p, false, err
	}
	text, ok := found[notePrefix+consumer]
	if !ok {
		return p, false, nil
	}
	saved, err := parseCheckpoint(text, consumer)
	return wire.Position{Timeline: saved.Timeline, Number: saved.Position}, err == nil, err
}

func parseCheckpoint(b []byte, consumer string) (c checkpoint, err error) {
	err = json.Unmarshal(b, &c)
	switch {
	case err != nil:
	case c.Consumer != consumer:
		err = fmt.Errorf("it is of %q", c.Consumer)
	case c.Sum != "" && c.Sum != c.sum():
		err = errors.New("its checksum does not fit")
	}
	return c, err
}

// Save keeps a consumer's position. It is there whole, or the one before is.
func (c *Checkpoints) Save(consumer string, p wire.Position) error {
	saved := checkpoint{Consumer: consumer, Position: p.Number, Timeline: p.Timeline}
	saved.Sum = saved.sum()
	b, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	if c.notes != nil {
		ctx, cancel := context.WithTimeout(context.Background(), savingTimeout)
		defer cancel()
		return c.notes.Note(ctx, map[string][]byte{notePrefix + consumer: b})
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
