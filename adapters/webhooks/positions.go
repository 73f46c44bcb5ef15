package webhooks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Checkpoints are where earlier versions kept the webhooks' positions, a file each.
type Checkpoints interface {
	Load(consumer string) (wire.Position, bool, error)
	Forget(consumer string) error
}

// Positions keeps how far the webhooks are in one file, to which what has changed is appended. A webhook that has been
// delivered all that it picks is as far as the follower, so that nothing is written for it while events come that it
// does not pick. The file is written anew when most of it is out of date.
//
// Each line is a record in JSON after its CRC-32 in hexadecimal digits. The file ends for its reader before the first
// line that is damaged or cut short. What stands before was so at some time, and what has changed since is delivered
// again: a later line must not be believed without the one that is lost, which may have said that a webhook fell behind.
type Positions struct {
	path  string
	old   Checkpoints
	file  *os.File // nil: it must be written anew
	lines int      // in the file

	mu    sync.Mutex        // guards what follows
	saved map[string]record // of webhooks that were not taken yet
	place *wire.Position    // the follower's; nil: none is saved
	moved []string          // consumers of earlier versions that the next saving has
}

// record is a line.
type record struct {
	Webhook  string        `json:"webhook,omitempty"` // its id; "": the record is the follower's
	Begun    uint64        `json:"begun,omitempty"`   // see domain.Webhook
	Idle     bool          `json:"idle,omitempty"`    // it is as far as the follower
	Gone     bool          `json:"gone,omitempty"`    // it was deleted
	Position wire.Position `json:"position"`          // everything up to here was delivered, or looked through; of an idle one: no meaning
}

// OpenPositions reads the file, if there is one.
func OpenPositions(path string, old Checkpoints, logger *slog.Logger) (*Positions, error) {
	p := &Positions{path: path, old: old, saved: make(map[string]record)}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = errors.Join(p.read(f, logger), f.Close())
	}
	if err == nil {
		return p, nil
	}
	// Whatever it is, it is of no use here. Nothing else depends on it.
	aside := path + ".bad"
	if err := errors.Join(os.RemoveAll(aside), os.Rename(path, aside)); err != nil {
		return nil, fmt.Errorf("positions of webhooks: %w", err)
	}
	logger.Error("the positions of webhooks cannot be read; events are delivered again", "put_aside", aside, "cause", err)
	return &Positions{path: path, old: old, saved: make(map[string]record)}, nil
}

func (p *Positions) read(f io.Reader, logger *slog.Logger) error {
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		r, ok := parseRecord(line)
		switch {
		case !ok:
			return p.keep(n, logger)
		case r.Webhook == "":
			p.place = &r.Position
		case r.Gone:
			delete(p.saved, r.Webhook)
		default:
			p.saved[r.Webhook] = r
		}
	}
}

// keep keeps a file that is damaged from a line on for whoever wants to see it; it will be written anew.
func (p *Positions) keep(line int, logger *slog.Logger) error {
	aside := p.path + ".bad"
	b, err := os.ReadFile(p.path)
	if err == nil {
		err = durable.WriteFile(aside, b, 0o640)
	}
	logger.Error("the positions of webhooks are damaged, or a crash has cut them short; what came after is delivered again",
		"file", p.path, "line", line, "put_aside", aside, "copied", err == nil)
	return nil
}

func parseRecord(line []byte) (r record, ok bool) {
	line, whole := bytes.CutSuffix(line, []byte("\n"))
	sum, text, ok := bytes.Cut(line, []byte(" "))
	if !ok || !whole {
		return r, false
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	return r, err == nil && uint32(want) == crc32.ChecksumIEEE(text) && json.Unmarshal(text, &r) == nil
}

func appendRecord(b []byte, r record) ([]byte, error) {
	text, err := json.Marshal(r)
	return fmt.Appendf(b, "%08x %s\n", crc32.ChecksumIEEE(text), text), err
}

// followed is how far the follower was; ok is false if that is not known.
func (p *Positions) followed() (at wire.Position, ok bool) {
	if p.place == nil {
		return at, false
	}
	return *p.place, true
}

// take gives what is saved of a webhook, and forgets it.
func (p *Positions) take(webhook string) (record, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.saved[webhook]
	delete(p.saved, webhook)
	return r, ok
}

// earlier gives the position that an earlier version saved.
func (p *Positions) earlier(consumer string, logger *slog.Logger) (wire.Position, bool) {
	if p.old == nil {
		return wire.Position{}, false
	}
	at, ok, err := p.old.Load(consumer)
	if err != nil {
		logger.Error("the position of a webhook cannot be read; events are delivered again", "consumer", consumer, "cause", err)
	}
	if ok && err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.moved = append(p.moved, consumer)
	}
	return at, ok && err == nil
}

// takeMoved gives the consumers of earlier versions whose webhooks the next saving has.
func (p *Positions) takeMoved() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.moved
	p.moved = nil
	return moved
}

// changes are what has happened since the last saving.
type changes struct {
	records  []record
	followed wire.Position
	moved    []string        // consumers of earlier versions, to be forgotten afterwards
	ended    []string        // webhooks whose attempts are to be forgotten afterwards
	hooks    int             // webhooks there are
	all      func() []record // the records of all
}

// save appends what has changed. The follower's place comes last: a file that breaks off before it has webhooks only at
// places that they were at.
func (p *Positions) save(c changes, logger *slog.Logger) {
	err := p.append(c)
	if err == nil {
		for _, consumer := range c.moved {
			err = errors.Join(err, p.old.Forget(consumer))
		}
	}
	if err != nil {
		logger.Error("positions of webhooks cannot be saved; after a restart events come again", "cause", err)
	}
}

func (p *Positions) append(c changes) error {
	follower := record{Position: c.followed}
	records := append(slices.Clip(c.records), follower)
	anew := p.file == nil || p.lines+len(records) > 2*c.hooks+1000
	if anew {
		records = append([]record{follower}, c.all()...)
	}
	var b []byte
	var err error
	for _, r := range records {
		if b, err = appendRecord(b, r); err != nil {
			return err
		}
	}
	if anew {
		return p.rewrite(b, len(records))
	}
	p.lines += len(records)
	_, err = p.file.Write(b)
	if err = errors.Join(err, p.file.Sync()); err != nil {
		err = errors.Join(err, p.Close()) // what stands in it now is not known: the next saving writes it anew
	}
	return err
}

func (p *Positions) rewrite(b []byte, lines int) (err error) {
	if err := errors.Join(p.Close(), durable.WriteFile(p.path, b, 0o640)); err != nil {
		return err
	}
	p.lines = lines
	p.file, err = os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND, 0)
	return err
}

// Close closes the file.
func (p *Positions) Close() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file = nil
	return f.Close()
}
