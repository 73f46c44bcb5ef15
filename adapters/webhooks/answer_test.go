package webhooks_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// saying is a target that reads the event, and answers with some bytes and then nothing more until the test ends, or ("end") the
// connection's end.
func saying(t *testing.T, answer, then string) (url string) {
	t.Helper()
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprint(conn, answer)
		if then != "end" {
			<-over
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	return s.URL
}

// A target that has told the status may fail before the end of its answer's body.
func TestTheStatusOfAnAnswerDecides(t *testing.T) {
	for name, c := range map[string]struct {
		answer, then string
		status       int
		delivered    bool
		paused       bool
	}{
		"accepted, half a body":          {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "end", 200, true, false},
		"accepted, no chunk":             {"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "end", 202, true, false},
		"accepted, a coding that is not": {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "end", 200, true, false},
		"accepted, a body without end":   {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "silence", 200, true, false},
		"rejected, half a body":          {"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 100\r\n\r\nhalf", "end", 422, false, false},
		"gone, half a body":              {"HTTP/1.1 410 Gone\r\nContent-Length: 100\r\n\r\nhalf", "end", 410, false, true},
		"failed, half a body":            {"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\nhalf", "end", 500, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(o *webhooks.Options) { o.Timeout = 10 * time.Second })
			id := r.create(domain.WebhookSpec{URL: saying(t, c.answer, c.then)})
			r.happen("a", 1)
			r.until("an attempt", func([]string) bool { return len(r.attempts(id)) > 0 })
			if a := r.attempts(id)[0]; a.Status != c.status || a.Delivered != c.delivered {
				t.Errorf("the attempt is %+v", a)
			}
			if c.paused {
				r.until("a pause", func([]string) bool { w, _ := r.list.Find(id); return w.Paused })
			}
		})
	}
}

func TestAResumedWebhookMayFailAsLongAgain(t *testing.T) {
	var later atomic.Int64 // how far the clock was put forward
	r := start(t, func(o *webhooks.Options) {
		o.PauseAfter, o.Now = time.Hour, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	id := r.create(domain.WebhookSpec{URL: saying(t, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "end")})
	r.happen("a", 1)
	paused := func([]string) bool { w, _ := r.list.Find(id); return w.Paused }
	for round := range 3 {
		before := len(r.attempts(id))
		r.until("attempts", func([]string) bool { return len(r.attempts(id)) >= before+3 })
		if paused(nil) {
			t.Fatalf("round %d: the webhook is paused before the hour is over", round)
		}
		later.Add(int64(time.Hour))
		r.until("a pause", paused)
		if err := r.command.Do(t.Context(), commands.Caller{}, id, domain.ResumeWebhook{}); err != nil {
			t.Fatal(err)
		}
	}
}
