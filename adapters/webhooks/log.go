package webhooks

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// keptAttempts is how many attempts the log keeps of a webhook, at least.
const keptAttempts = 10_000

// Attempt is one try to deliver one event.
type Attempt struct {
	Event     string              `json:"event"`           // its id; the target sees it as webhook-id
	Position  eventstore.Position `json:"position,string"` // the event's
	Type      string              `json:"type"`
	Attempt   int                 `json:"attempt"` // from 1
	At        time.Time           `json:"at"`
	Took      domain.Duration     `json:"took"`
	Status    int                 `json:"status,omitempty"` // HTTP status of the answer, if there was one
	Delivered bool                `json:"delivered"`
	Error     string              `json:"error,omitempty"`
}

// Log keeps attempts in a folder. It is there to look things up: what a crash takes from its end is
// no loss.
type Log struct {
	db     *pebble.DB
	logger *slog.Logger

	mu   sync.Mutex
	next map[string]uint64 // number of the webhook's next attempt
}

// OpenLog opens the log in a folder, and creates it when there is none.
func OpenLog(dir string, logger *slog.Logger) (*Log, error) {
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: engineLog{logger},
		EventListener: &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
			logger.Error("delivery log file is damaged", "file", info.Path, "cause", info.Details)
		}}})
	if err != nil {
		return nil, fmt.Errorf("open delivery log in %s: %w", dir, err)
	}
	return &Log{db: db, logger: logger, next: make(map[string]uint64)}, nil
}

// engineLog keeps the engine's chatter out of the log and its errors in.
type engineLog struct{ *slog.Logger }

func (l engineLog) Infof(string, ...any) {}
func (l engineLog) Errorf(format string, args ...any) {
	l.Error("delivery log engine", "error", fmt.Sprintf(format, args...))
}
func (l engineLog) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func attemptKey(webhook string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(webhook), 0), n)
}

// Add adds an attempt. A log that cannot be written holds up no delivery.
func (l *Log) Add(webhook string, a Attempt) {
	if err := l.add(webhook, a); err != nil {
		l.logger.Error("delivery log cannot be written", "webhook", webhook, "cause", err)
	}
}

func (l *Log) add(webhook string, a Attempt) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n, known := l.next[webhook]
	if !known {
		if n, err = l.last(webhook); err != nil {
			return err
		}
	}
	l.next[webhook] = n + 1
	if n%1000 == 0 && n > keptAttempts {
		if err := l.db.DeleteRange(attemptKey(webhook, 0), attemptKey(webhook, n-keptAttempts), pebble.NoSync); err != nil {
			return err
		}
	}
	return l.db.Set(attemptKey(webhook, n), b, pebble.NoSync)
}

// last is the number that the webhook's next attempt gets.
func (l *Log) last(webhook string) (uint64, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: attemptKey(webhook, 0), UpperBound: attemptKey(webhook, ^uint64(0))})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !it.Last() {
		return 0, it.Error()
	}
	key := it.Key()
	return binary.BigEndian.Uint64(key[len(key)-8:]) + 1, nil
}

// Newest gives a webhook's attempts, the newest first.
func (l *Log) Newest(webhook string, limit int) ([]json.RawMessage, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: attemptKey(webhook, 0), UpperBound: attemptKey(webhook, ^uint64(0))})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	attempts := []json.RawMessage{}
	for ok := it.Last(); ok && len(attempts) < limit; ok = it.Prev() {
		attempts = append(attempts, append([]byte{}, it.Value()...))
	}
	return attempts, it.Error()
}

// Close closes the log.
func (l *Log) Close() error { return errors.Join(l.db.Flush(), l.db.Close()) }
