package webhooks

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/projections/disposable"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// keptAttempts is how many attempts the log keeps of a webhook, at least.
const keptAttempts = 10_000

// Attempt is one try to deliver one event. The log keeps attempts in the form in which the API shows them.
type Attempt = wire.Attempt

// Log keeps attempts in a folder, for people to look at. A crash may lose the newest attempts. A folder that is damaged or
// fails is put aside, and an empty folder begins. No delivery waits for the log.
type Log struct {
	dir    string
	logger *slog.Logger

	mu      sync.RWMutex
	db      *disposable.DB    // nil while no folder is open
	next    map[string]uint64 // number of the next attempt of each webhook that has made attempts since the start
	flushed time.Time         // when attempts were last written to disk, by the attempts' clock
	skip    int               // attempts that pass before a folder that cannot be opened is tried again
}

// OpenLog opens the log in a folder, and creates it when there is none. An error means that someone else has it
// open.
func OpenLog(dir string, logger *slog.Logger) (*Log, error) {
	l := &Log{dir: dir, logger: logger}
	if err := l.open(true); errors.Is(err, disposable.ErrInUse) {
		return nil, err
	}
	return l, nil
}

// flushEvery is how many attempts, by their time, a crash may take.
const flushEvery = time.Minute

// skipped is how many attempts go unlogged before a folder that could not be opened is tried again.
const skipped = 100

// open opens the folder, as it is if it may be whole, or else an empty one in its place. The caller holds mu,
// or nobody else has the log yet.
func (l *Log) open(whole bool) (err error) {
	l.db, l.next, l.skip = nil, make(map[string]uint64), skipped
	o := disposable.Options{Name: "delivery log", Logger: l.logger, Engine: pebble.Options{FormatMajorVersion: pebble.FormatNewest}}
	if whole {
		if l.db, err = disposable.Open(l.dir, o); err == nil || errors.Is(err, disposable.ErrInUse) {
			return err
		}
	}
	aside := ""
	if !disposable.Passing(err) {
		aside, err = disposable.PutAside(l.dir)
		if err == nil {
			l.logger.Error("the delivery log is damaged and begins anew", "put_aside", aside)
			l.db, err = disposable.Open(l.dir, o)
		}
	}
	if err != nil {
		l.db = nil
		l.logger.Error("the delivery log cannot be opened; deliveries go on without it", "cause", err)
	}
	return err
}

// mend opens the folder again if it has failed. The caller holds mu.
func (l *Log) mend() {
	switch {
	case l.db != nil && l.db.Err() != nil:
		fault := l.db.Err()
		l.logger.Error("the delivery log has failed", "cause", fault)
		_ = l.db.Close()
		l.open(!errors.As(fault, new(disposable.Damage)))
	case l.db == nil && l.skip > 0:
		l.skip--
	case l.db == nil:
		l.open(true)
	}
}

// errNoLog is the answer while there is no folder.
var errNoLog = errors.New("the delivery log cannot be opened")

func attemptKey(webhook string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(webhook), 0), n)
}

// Add adds an attempt. A log that cannot be written holds up no delivery.
func (l *Log) Add(webhook string, a Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mend()
	if l.db == nil {
		return // the log has a line on it
	}
	if err := l.add(webhook, a); err != nil {
		l.db.Fail(err)
		l.logger.Error("delivery log cannot be written", "webhook", webhook, "cause", err)
	}
}

func (l *Log) add(webhook string, a Attempt) error {
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	n, known := l.next[webhook]
	if !known {
		if n, err = l.last(webhook); err != nil {
			return err
		}
	}
	l.next[webhook] = n + 1
	b := l.db.NewBatch()
	defer b.Close()
	if n%1000 == 0 && n > keptAttempts {
		if err := b.DeleteRange(attemptKey(webhook, 0), attemptKey(webhook, n-keptAttempts), nil); err != nil {
			return err
		}
	}
	if err := b.Set(attemptKey(webhook, n), value, nil); err != nil {
		return err
	}
	if err := l.db.Commit(b); err != nil {
		return err
	}
	if a.At.Sub(l.flushed) < flushEvery {
		return nil
	}
	l.flushed = a.At
	return l.db.Flush()
}

// Forget removes the attempts of webhooks that were deleted.
func (l *Log) Forget(webhooks []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, webhook := range webhooks {
		delete(l.next, webhook)
	}
	if l.db == nil {
		return
	}
	b := l.db.NewBatch()
	defer b.Close()
	var err error
	for _, webhook := range webhooks {
		err = errors.Join(err, b.DeleteRange(attemptKey(webhook, 0), attemptKey(webhook, ^uint64(0)), nil))
	}
	if err == nil {
		err = l.db.Commit(b)
	}
	if err != nil {
		l.db.Fail(err)
		l.logger.Error("attempts of deleted webhooks cannot be removed", "cause", err)
	}
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
	l.mu.Lock()
	l.mend()
	l.mu.Unlock()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.db == nil {
		return nil, errNoLog
	}
	attempts, err := l.newest(webhook, limit)
	if err != nil {
		l.db.Fail(disposable.Damage{Cause: err})
	}
	return attempts, err
}

func (l *Log) newest(webhook string, limit int) ([]json.RawMessage, error) {
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
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}
