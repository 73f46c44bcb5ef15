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

// Checkpoints have the positions of webhooks as earlier versions kept them, in a file for each webhook.
type Checkpoints interface {
	Load(consumer string) (wire.Position, bool, error)
	Forget(consumer string) error
}

// Positions keeps the positions of the webhooks in one file, or as notes (OpenShared). Changes are appended to the file. A
// webhook to which all picked events were delivered has the position of the follower, so that nothing is written for the
// webhook while other events come. The file is written anew when most of its lines are out of date.
//
// Each line is a record in JSON, after the CRC-32 of the record in hexadecimal digits. A reader stops before the first line
// that is damaged or cut short. The lines before were true at some time, and events since then are delivered again. The lines
// after must not be believed: the lost line may have said that a webhook fell behind.
type Positions struct {
	path  string
	old   Checkpoints
	file  *os.File // nil: the file must be written anew
	lines int      // number of lines in the file

	notes     Notes    // keeps the positions instead of the file; nil: the file does
	behind    bool     // the notes may lack what was to be saved before
	forgotten []string // webhooks whose notes are still to be removed

	mu    sync.Mutex        // guards what follows
	saved map[string]record // of the webhooks that take was not called for
	place *wire.Position    // of the follower; nil: none is saved
	moved []string          // consumers of earlier versions whose positions are saved in this file next
}

// record is what a line says.
type record struct {
	Webhook  string        `json:"webhook,omitempty"` // the id; "": the record is of the follower
	Begun    uint64        `json:"begun,omitempty"`   // see domain.Webhook
	Idle     bool          `json:"idle,omitempty"`    // the webhook has the follower's position
	Gone     bool          `json:"gone,omitempty"`    // the webhook was deleted
	Position wire.Position `json:"position"`          // up to here the picked events were delivered; of an idle webhook: no meaning
}

// OpenPositions reads the file, if there is one.
func OpenPositions(path string, old Checkpoints, logger *slog.Logger) (*Positions, error) {
	p := &Positions{path: path, old: old, saved: make(map[string]record)}
	f, _, err := durable.OpenRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = errors.Join(p.read(f, logger), f.Close())
	}
	if err == nil {
		return p, nil
	}
	// What is there is no file that can be used, and nothing else depends on it.
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

// keep puts a damaged file aside, for people to look at. The file will be written anew.
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

// followed is the position of the follower; ok is false if no position is saved.
func (p *Positions) followed() (at wire.Position, ok bool) {
	if p.place == nil {
		return at, false
	}
	return *p.place, true
}

// take gives the saved record of a webhook, and removes the record from memory.
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

// takeMoved gives the consumers of earlier versions whose positions are saved in this file next.
func (p *Positions) takeMoved() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.moved
	p.moved = nil
	return moved
}

// changes are the changes since the last saving.
type changes struct {
	records  []record
	followed wire.Position
	moved    []string        // consumers of earlier versions, to be removed afterwards
	ended    []string        // webhooks whose attempts are to be removed afterwards
	hooks    int             // number of all webhooks
	all      func() []record // the records of all webhooks
}

// save appends the changes. The position of the follower comes last: a file that breaks off before that line gives webhooks
// only positions that they have had.
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
	if p.notes != nil {
		return p.note(c)
	}
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
		err = errors.Join(err, p.Close()) // the content of the file is not known: the next saving writes the file anew
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
