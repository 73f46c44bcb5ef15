package web_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// reader is a client that reads nothing.
type reader struct {
	*httptest.ResponseRecorder
	mu       sync.Mutex
	deadline time.Time
	cut      chan struct{} // closed when the client is cut off
}

func (r *reader) SetWriteDeadline(at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deadline = at; at.Before(time.Now()) {
		select {
		case <-r.cut:
		default:
			close(r.cut)
		}
	}
	return nil
}

func begin(t *testing.T, o *web.Outgoing, body []byte) (*reader, *web.Reply, error) {
	t.Helper()
	to := &reader{ResponseRecorder: httptest.NewRecorder(), cut: make(chan struct{})}
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil).WithContext(t.Context()), to)
	reply, err := o.Begin(c, body)
	return to, reply, err
}

func TestSlowReadersOfLargeRepliesMakeRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := web.NewOutgoing(1000)
		shared, own := make([]byte, 600), make([]byte, 600)
		for range 3 { // the same bytes count once
			to, reply, err := begin(t, o, shared)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				<-to.cut
				reply.End()
			}()
		}
		before := time.Now()
		_, reply, err := begin(t, o, own)
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(before); waited < 2*time.Second || waited > 3*time.Second {
			t.Errorf("slow readers were cut off after %s", waited)
		}
		reply.End()
		if _, reply, err := begin(t, o, make([]byte, 5000)); err != nil { // alone, however large
			t.Error(err)
		} else {
			reply.End()
		}
	})
}

func TestAReplyForWhichThereIsNoRoomIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := web.NewOutgoing(1000)
		if _, _, err := begin(t, o, make([]byte, 900)); err != nil { // never ends, though it is cut off
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() {
			_, _, err := begin(t, o, make([]byte, 400))
			waiting <- err
		}()
		synctest.Wait()
		if _, _, err := begin(t, o, make([]byte, 400)); web.ProblemOf(err).Status != http.StatusServiceUnavailable { // too much waits
			t.Errorf("a reply for which nothing can wait is answered %v", err)
		}
		if err := <-waiting; web.ProblemOf(err).Status != http.StatusServiceUnavailable {
			t.Errorf("a reply without room is answered %v", err)
		}
	})
}

// The time that a client has for a reply grows with the reply.
func TestALargeReplyMayTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := web.NewOutgoing(100 << 20)
		for size, want := range map[int]time.Duration{64 << 10: 30 * time.Second, 8 << 20: 62 * time.Second} {
			to, _, err := begin(t, o, make([]byte, size))
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Until(to.deadline); got != want {
				t.Errorf("%d bytes may take %s, not %s", size, got, want)
			}
		}
	})
}
