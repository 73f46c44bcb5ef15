package esdbstore_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Each gRPC code has its meaning, for appends and for reads. After those that say nothing about the outcome the
// call is sent again, and succeeds.
func TestEveryCodeHasItsVerdict(t *testing.T) {
	again := error(nil)
	for code, want := range map[codes.Code]error{
		codes.Canceled: again, codes.Unknown: again, codes.InvalidArgument: eventstore.ErrRefused, codes.DeadlineExceeded: again,
		codes.NotFound: eventstore.ErrRefused, codes.AlreadyExists: eventstore.ErrRefused, codes.PermissionDenied: eventstore.ErrAccessDenied,
		codes.ResourceExhausted: eventstore.ErrTooLarge, codes.FailedPrecondition: eventstore.ErrRefused, codes.Aborted: again,
		codes.OutOfRange: eventstore.ErrRefused, codes.Unimplemented: eventstore.ErrRefused, codes.Internal: again, codes.Unavailable: again,
		codes.DataLoss: eventstore.ErrRefused, codes.Unauthenticated: eventstore.ErrAccessDenied,
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			var reads, appends atomic.Bool // whether the next one gets the code
			server := serve(t)
			server.AnswerWith(func(method string) error {
				if method == "Read" && reads.CompareAndSwap(true, false) || method == "BatchAppend" && appends.CompareAndSwap(true, false) {
					return status.Error(code, "as the test wants it")
				}
				return nil
			})
			appends.Store(true)
			s := open(t, server.ConnectionString(), esdbstore.Options{Timings: esdbstore.Timings{Ping: time.Hour, Probe: 5 * time.Millisecond}})
			_, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}})
			if !errors.Is(err, want) {
				t.Errorf("an append gave %v, want %v", err, want)
			}
			reads.Store(true)
			read := 0
			for _, err = range s.ReadStream(ctx, stream("a"), eventstore.ReadOptions{}) {
				read++
			}
			if !errors.Is(err, want) || want == again && read != 1 {
				t.Errorf("a read gave %d events, %v, want %v", read, err, want)
			}
		})
	}
}

// While every call is answered with a code that leaves the outcome open, the end of the wait for a leader is an error
// that the port knows.
func TestTheWaitForALeaderEndsInUnavailable(t *testing.T) {
	var broken atomic.Bool
	server := serve(t)
	server.AnswerWith(func(method string) error {
		if method == "BatchAppend" && broken.Load() {
			return status.Error(codes.Internal, "again and again")
		}
		return nil
	})
	broken.Store(true)
	s := open(t, server.ConnectionString(), esdbstore.Options{Timings: esdbstore.Timings{LeaderWait: 100 * time.Millisecond, Probe: 5 * time.Millisecond}})
	if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}}); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("gave %v", err)
	}
}

// settled waits until there are no more goroutines than before, and fails when there stay more.
func settled(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines stay, there were %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// Whom the database does not let in is told so at once, and a store that is closed then leaves nothing behind.
func TestBadCredentialsAreSaidAndLeaveNothingBehind(t *testing.T) {
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied} {
		server, err := esdbtest.Start()
		if err != nil {
			t.Fatal(err)
		}
		server.AnswerWith(func(string) error { return status.Error(code, "who are you?") })
		before := runtime.NumGoroutine()
		for range 5 {
			s, err := esdbstore.Open(server.ConnectionString(), esdbstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Ready(ctx); !errors.Is(err, eventstore.ErrAccessDenied) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: gave %v", code, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		settled(t, before+2) // the server's own
		server.Stop()
	}
}

// A database that is lost again and again, under appends, reads and subscriptions, leaves nothing behind.
func TestLossesLeaveNothingBehind(t *testing.T) {
	server := serve(t)
	before := runtime.NumGoroutine()
	s := open(t, server.ConnectionString(), esdbstore.Options{Timings: esdbstore.Timings{Probe: 5 * time.Millisecond}})
	sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{}, 1024)
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			events, _, err := sub.Next(ctx)
			if err != nil {
				return
			}
			for range events {
				seen <- struct{}{}
			}
		}
	})
	during := 0
	for i := range 12 {
		if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}}); err != nil {
			t.Fatal(err)
		}
		<-seen
		if i == 1 {
			during = runtime.NumGoroutine()
		}
		server.Stop()
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Head(ctx); err != nil {
		t.Fatal(err)
	}
	settled(t, during+6)
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	reader.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	settled(t, before+2)
}

// A subscription may be closed while another goroutine waits in Next, or reads.
func TestASubscriptionIsClosedUnderNext(t *testing.T) {
	server := serve(t)
	s := open(t, server.ConnectionString(), esdbstore.Options{})
	for range 20 {
		server.Put(string(stream("a")), "HealthChanged", []byte(`{}`), []byte(`{}`))
	}
	for i := range 50 {
		sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		group.Go(func() {
			for {
				if _, _, err := sub.Next(ctx); err != nil {
					if !errors.Is(err, eventstore.ErrClosed) {
						t.Errorf("Next gave %v", err)
					}
					return
				}
			}
		})
		time.Sleep(time.Duration(i%5) * time.Millisecond)
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	}
}
