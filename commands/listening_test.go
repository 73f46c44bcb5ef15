package commands_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// moody is a store that refuses appends, or keeps them waiting, for a time.
type moody struct {
	*eventstoretest.Memory
	silent  bool // it does not say of itself that it takes no appends
	refusal atomic.Pointer[error]
	stuck   atomic.Pointer[chan struct{}]
	unread  atomic.Bool // heartbeats cannot be read
}

func (m *moody) Err() error {
	if m.silent {
		return nil
	}
	return m.refuse()
}

func (m *moody) refuse() error {
	if err := m.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

func (m *moody) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := m.refuse(); err != nil {
		return nil, err
	}
	if stuck := m.stuck.Load(); stuck != nil {
		<-*stuck
	}
	return m.Memory.Append(ctx, into, requests...)
}

func (m *moody) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	if m.unread.Load() && stream.IsHeartbeat() {
		return func(yield func(eventstore.RecordedEvent, error) bool) {
			yield(eventstore.RecordedEvent{}, fmt.Errorf("damaged"))
		}
	}
	return m.Memory.ReadStream(ctx, stream, opts)
}

// beats sends heartbeats of instances every 300 ms, whatever is answered, until stopped.
func beats(n *node, keys ...domain.Key) (stop func()) {
	sending, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, k := range keys {
		group.Go(func() {
			for sending.Err() == nil {
				n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: k}})
				time.Sleep(300 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// events are those of the registry's stream.
func (n *node) told(t *testing.T) (told []domain.Event) {
	t.Helper()
	for e, err := range n.store.ReadStream(ctx, eventstore.RegistryStream, eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, event)
	}
	return told
}

// Silence that the registry made itself is no silence, whatever made it and whatever self-preservation says.
func TestSilenceThatTheRegistryMadeEndsNoLease(t *testing.T) {
	refusing := func(err error) func(*moody) func() {
		return func(m *moody) func() {
			m.refusal.Store(&err)
			return func() { m.refusal.Store(nil) }
		}
	}
	for name, c := range map[string]struct {
		begin  func(*moody) (end func())
		silent bool
		cause  domain.Deafness
	}{
		"the disk is full":                        {refusing(eventstore.ErrDiskFull), false, domain.DeafDiskFull},
		"appends are refused for a full disk":     {refusing(eventstore.ErrDiskFull), true, domain.DeafDiskFull},
		"the database is away":                    {refusing(fmt.Errorf("no leader: %w", eventstore.ErrUnavailable)), true, domain.DeafUnavailable},
		"the database lets nobody in":             {refusing(eventstore.ErrAccessDenied), true, domain.DeafDenied},
		"appends fail for a cause that none knew": {refusing(fmt.Errorf("odd")), true, domain.DeafFailed},
		"the file system is frozen": {func(m *moody) func() {
			stuck := make(chan struct{})
			m.stuck.Store(&stuck)
			return func() { m.stuck.Store(nil); close(stuck) }
		}, true, domain.DeafCommit},
	} {
		for _, preserve := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/preserve=%t", name, preserve), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &moody{Memory: eventstoretest.NewMemory(), silent: c.silent}
					n := start(t, store, preserve)
					defer n.stop()
					keys := []domain.Key{key("a"), key("b"), key("c")}
					for _, k := range keys {
						n.do(t, domain.RegisterInstance{Key: k, Details: details(3 * time.Second)})
					}
					for i := range 40 {
						n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(time.Hour)})
					}
					n.do(t, domain.RegisterInstance{Key: key("dead"), Details: details(3 * time.Second)})
					stop := beats(n, keys...)
					time.Sleep(2 * time.Second)
					began := time.Now()
					end := c.begin(store)
					time.Sleep(6 * time.Second)
					if !n.listening.Deaf() {
						t.Error("the registry does not know that it cannot take heartbeats")
					}
					end()
					ended := time.Now()
					time.Sleep(2500 * time.Millisecond)
					synctest.Wait()
					if got := n.projections.Catalog().Len(); got != 44 {
						t.Errorf("%d instances are left of 44", got)
					}
					time.Sleep(3 * time.Second)
					stop()
					synctest.Wait()
					if got := n.projections.Catalog().Len(); got != 43 || n.projections.Catalog().Find(key("dead")) != nil {
						t.Errorf("real silence: %d instances are left, want 43", got)
					}
					told := n.told(t)
					if len(told) != 1 {
						t.Fatalf("the log tells %+v", told)
					}
					e, ok := told[0].(domain.ListeningInterrupted)
					if !ok || e.Cause != c.cause || e.From.Sub(began).Abs() > 500*time.Millisecond || e.To.Sub(ended).Abs() > 500*time.Millisecond {
						t.Errorf("the log tells %+v; it was from %s to %s", told[0], began, ended)
					}
					if total := n.listening.Total(time.Now())[c.cause]; total < 5500*time.Millisecond || total > 6500*time.Millisecond {
						t.Errorf("it counts %s", total)
					}
				})
			})
		}
	}
}

// A process that stood still finds out by a clock of its own.
func TestAPauseOfTheProcessEndsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		n := startAt(t, eventstoretest.NewMemory(), false, now)
		defer n.stop()
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(10 * time.Second)})
		time.Sleep(5 * time.Second)
		ahead.Store(int64(time.Hour))
		time.Sleep(9900 * time.Millisecond)
		if n.projections.Catalog().Find(key("a")) == nil {
			t.Fatal("it lapsed while the process stood still")
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if n.projections.Catalog().Find(key("a")) != nil {
			t.Error("it does not lapse any more")
		}
		if told := n.told(t); len(told) != 1 || told[0].(domain.ListeningInterrupted).Cause != domain.DeafStopped {
			t.Errorf("the log tells %+v", told)
		}
	})
}

func TestARestartIsToldIfALeaseCouldHaveLapsed(t *testing.T) {
	for down, want := range map[time.Duration]int{2 * time.Second: 0, time.Minute: 1} {
		synctest.Test(t, func(t *testing.T) {
			store := eventstoretest.NewMemory()
			n := start(t, store, true)
			n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(5 * time.Second)})
			last := time.Now()
			n.stop()
			time.Sleep(down)
			again := time.Now()
			n = start(t, store, true)
			defer n.stop()
			time.Sleep(time.Second)
			told := n.told(t)
			if len(told) != want {
				t.Fatalf("down for %s: the log tells %+v", down, told)
			}
			if want == 1 && told[0] != (domain.ListeningInterrupted{From: last.UTC(), To: again.UTC(), Cause: domain.DeafNotRunning}) {
				t.Errorf("the log tells %+v", told[0])
			}
		})
	}
}

// Short troubles give leases their ttl anew and are not told.
func TestAShortTroubleIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &moody{Memory: eventstoretest.NewMemory()}
		n := start(t, store, false)
		defer n.stop()
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(3 * time.Second)})
		time.Sleep(2900 * time.Millisecond)
		full := eventstore.ErrDiskFull
		store.refusal.Store(&full)
		time.Sleep(300 * time.Millisecond)
		store.refusal.Store(nil)
		time.Sleep(3 * time.Second)
		if told := n.told(t); len(told) > 0 || n.projections.Catalog().Len() != 1 {
			t.Errorf("the log tells %+v, %d instances are left", told, n.projections.Catalog().Len())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n.projections.Catalog().Len() != 0 {
			t.Error("it does not lapse any more")
		}
	})
}

// What was answered before the expiry is appended makes the expiry look again.
func TestAnExpiryTakesNothingBackThatWasAnswered(t *testing.T) {
	for name, renew := range map[string]domain.Command{
		"a heartbeat":      domain.SendHeartbeat{Key: key("a")},
		"the same details": domain.RegisterInstance{Key: key("a"), Details: details(3 * time.Second)},
		"an update":        domain.RegisterInstance{Key: key("a"), Details: details(4 * time.Second)},
	} {
		for _, untying := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/untying=%t", name, untying), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &beforeExpiry{Memory: eventstoretest.NewMemory()}
					store.Untying = untying
					n := start(t, store, false)
					defer n.stop()
					n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(3 * time.Second)})
					renewed := make(chan commands.Result, 1)
					store.when(untying, func() {
						renewed <- n.service.Do(ctx, caller, commands.Request{Command: renew})
					})
					time.Sleep(4 * time.Second)
					if r := <-renewed; r.Err != nil {
						t.Fatalf("the renewal was answered %v", r.Err)
					}
					if n.projections.Catalog().Find(key("a")) == nil {
						t.Error("the instance is gone though its renewal was answered")
					}
				})
			})
		}
	}
}

// beforeExpiry does something once, just before an expiry is appended, or at the second look before that.
type beforeExpiry struct {
	*eventstoretest.Memory
	mu      sync.Mutex
	expiry  func()
	reading func()
}

func (b *beforeExpiry) when(reading bool, do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if reading {
		b.reading = do
	} else {
		b.expiry = do
	}
}

func (b *beforeExpiry) take(do *func()) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := *do
	*do = nil
	return taken
}

func (b *beforeExpiry) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if len(requests) > 0 && requests[0].Events[0].Type == domain.TypeLeaseExpired {
		if do := b.take(&b.expiry); do != nil {
			do()
		}
	}
	return b.Memory.Append(ctx, into, requests...)
}

func (b *beforeExpiry) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	if stream.IsHeartbeat() {
		if do := b.take(&b.reading); do != nil {
			do()
		}
	}
	return b.Memory.ReadStream(ctx, stream, opts)
}

// A last heartbeat that cannot be read is left out of the event, and hinders no expiry.
func TestAnUnreadableLastHeartbeatIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &moody{Memory: eventstoretest.NewMemory()}
		n := start(t, store, false)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(3 * time.Second)})
		n.do(t, domain.SendHeartbeat{Key: key("a")})
		n.stop()
		store.unread.Store(true)
		n = start(t, store, false)
		defer n.stop()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		var last domain.Event
		for e, err := range store.Memory.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			last, _ = eventstore.Decode(&e)
		}
		if expired, ok := last.(domain.LeaseExpired); !ok || expired.LastHeard != (domain.LastHeard{}) || expired.Epoch != 1 || time.Duration(expired.TTL) != 3*time.Second {
			t.Errorf("it ended with %+v", last)
		}
	})
}
