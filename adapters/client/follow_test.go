package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// script is a registry that answers each request as its next step says; the last step answers the rest.
type script struct {
	steps []step
	asked []asked // every request that came
	began time.Time
}

// step answers a request: with an error or status, or as a stream whose lines it writes. A stream stays
// open after its step returned, unless that closed it.
type step struct {
	err    error
	status int
	body   string
	stream func(ctx context.Context, w *io.PipeWriter)
}

type asked struct {
	after  time.Duration // since the test began
	path   string
	lastID string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, asked{time.Since(s.began), r.URL.RequestURI(), r.Header.Get("Last-Event-ID")})
	now := s.steps[min(len(s.asked), len(s.steps))-1]
	if now.err != nil {
		return nil, now.err
	}
	if now.stream == nil {
		return &http.Response{StatusCode: now.status, Status: fmt.Sprint(now.status, " ", http.StatusText(now.status)), Header: http.Header{"Rollcall-Position": {"9"}}, Body: io.NopCloser(strings.NewReader(now.body)), Request: r}, nil
	}
	body, w := io.Pipe()
	context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
	go now.stream(r.Context(), w)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Rollcall-Position": {"9"}}, Body: body, Request: r}, nil
}

func (s *script) client(t *testing.T) *client.Client {
	t.Helper()
	s.began = time.Now()
	c, err := client.New("http://registry", client.Options{Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says is a step that tells some messages and stays open.
func says(messages ...string) step {
	return step{stream: func(_ context.Context, w *io.PipeWriter) {
		for _, m := range messages {
			if _, err := io.WriteString(w, m); err != nil {
				return
			}
		}
	}}
}

// saysAndEnds is a step that tells some messages, then the connection breaks.
func saysAndEnds(messages ...string) step {
	return step{stream: func(_ context.Context, w *io.PipeWriter) {
		for _, m := range messages {
			if _, err := io.WriteString(w, m); err != nil {
				return
			}
		}
		w.CloseWithError(io.ErrUnexpectedEOF)
	}}
}

func snapshot(id int, instances ...string) string {
	var all []string
	for _, i := range instances {
		all = append(all, fmt.Sprintf(`{"namespace":"default","service":"web","id":%q}`, i))
	}
	return fmt.Sprintf("id: %d\nevent: snapshot\ndata: {\"position\":\"%d\",\"instances\":[%s]}\n\n", id, id, strings.Join(all, ","))
}

func put(id int, instance string) string {
	return fmt.Sprintf("id: %d\nevent: change\ndata: {\"position\":\"%d\",\"op\":\"put\",\"namespace\":\"default\",\"service\":\"web\",\"id\":%q,\"instance\":{\"namespace\":\"default\",\"service\":\"web\",\"id\":%q}}\n\n", id, id, instance, instance)
}

var web = domain.ServiceKey{Service: "web"}

// follow collects "kind id" of updates until there are n of them or an error.
func follow(ctx context.Context, c *client.Client, q client.FollowQuery, n int) (told []string, err error) {
	for u, err := range c.Follow(ctx, q) {
		if err != nil {
			return told, err
		}
		if told = append(told, u.Kind+" "+u.ID); len(told) == n {
			return told, nil
		}
	}
	return told, nil
}

func wantTold(t *testing.T, told []string, want ...string) {
	t.Helper()
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestADeadPathIsDroppedAfterTwoKeepAlivesAndResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{says(snapshot(5, "a")), says(put(6, "b"))}}
		var lost error
		told, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web, Lost: func(err error) { lost = err }}, 2)
		if err != nil {
			t.Fatal(err)
		}
		wantTold(t, told, "snapshot 5", "change 6")
		if !errors.As(lost, new(client.Silent)) {
			t.Errorf("lost for %v", lost)
		}
		if second := s.asked[1]; second.lastID != "5" || second.after < 30*time.Second || second.after > 31*time.Second {
			t.Errorf("asked again %+v, want 30 s after the last byte, from 5 on", second)
		}
	})
}

func TestKeepAlivesKeepAQuietStreamOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{stream: func(ctx context.Context, w *io.PipeWriter) {
			_, _ = io.WriteString(w, snapshot(5))
			for range 240 { // an hour
				time.Sleep(client.KeepAlive)
				_, _ = io.WriteString(w, ": still here\n\n")
			}
			_, _ = io.WriteString(w, put(6, "a"))
		}}}}
		told, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web, Lost: func(err error) { t.Errorf("lost: %v", err) }}, 2)
		if err != nil {
			t.Fatal(err)
		}
		wantTold(t, told, "snapshot 5", "change 6")
		if len(s.asked) != 1 {
			t.Errorf("asked %d times", len(s.asked))
		}
	})
}

// The comment that nothing was missed may come in pieces, and others may come before it.
func TestAStreamThatGoesOnSaysThatNothingWasMissed(t *testing.T) {
	for name, pieces := range map[string][]string{
		"at once":               {": still here\n\n"},
		"in pieces":             {": st", "ill here", "\n", "\n"},
		"behind others":         {": catching up\n\n: still here\n\n"},
		"in an update":          {"id: 6\nevent: change\ndata: : still here\n: still here and more\n"},
		"not without its end":   {": still here"},
		"behind a long comment": {": " + strings.Repeat("x", 10_000) + "\n: still here\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{{stream: func(ctx context.Context, w *io.PipeWriter) {
					for _, p := range pieces {
						_, _ = io.WriteString(w, p)
					}
					<-ctx.Done()
				}}}}
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
				defer stop()
				current := 0
				for _, err := range s.client(t).Follow(ctx, client.FollowQuery{Service: web, LastEventID: "5", Current: func() { current++ }}) {
					t.Fatal(err)
				}
				want := 1
				if name == "in an update" || name == "not without its end" {
					want = 0
				}
				if current != want {
					t.Errorf("it is current %d times", current)
				}
			})
		})
	}
}

func TestASlowReaderIsNoDeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{says(snapshot(1), put(2, "a"), put(3, "b"))}}
		n := 0
		for _, err := range s.client(t).Follow(t.Context(), client.FollowQuery{Service: web}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
			time.Sleep(5 * time.Minute)
		}
		if len(s.asked) != 1 {
			t.Errorf("asked %d times", len(s.asked))
		}
	})
}

func TestFollowGoesOnThroughEveryKindOfEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{
			saysAndEnds(snapshot(5, "a"), "id: 6\nevent: change\ndata: {\"po"), // half a message is none
			{err: errors.New("connection refused")},
			{status: 503, body: `{"type":"urn:rollcall:problem:stopping","status":503,"detail":"the registry is shutting down"}`},
			{status: 429, body: `{"type":"urn:rollcall:problem:busy","status":429}`},
			{status: 502, body: "<html>bad gateway</html>"},
			says(put(6, "b"), "event: cut\ndata: {\"reason\":\"too slow\"}\n\n"),
			says(put(7, "c")),
		}}
		told, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web}, 4)
		if err != nil {
			t.Fatal(err)
		}
		wantTold(t, told, "snapshot 5", "change 6", "cut 6", "change 7")
		for i, want := range []string{"", "5", "5", "5", "5", "5", "6"} {
			if s.asked[i].lastID != want {
				t.Errorf("request %d asked from %q on, want %q", i, s.asked[i].lastID, want)
			}
		}
	})
}

func TestPausesGrowAndStayBelowTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		s := &script{steps: []step{saysAndEnds(snapshot(5)), {err: errors.New("connection refused")}}}
		if _, err := follow(ctx, s.client(t), client.FollowQuery{Service: web}, 2); err != nil {
			t.Fatal(err)
		}
		if n := len(s.asked); n < 120 || n > 250 {
			t.Errorf("asked %d times in 10 minutes", n)
		}
		if first := s.asked[1].after; first > 200*time.Millisecond {
			t.Errorf("the first pause is %v", first)
		}
	})
}

func TestFollowEndsWithTheFirstFailureUnlessItIsToKeepTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{err: errors.New("connection refused")}, says(snapshot(5))}}
		c := s.client(t)
		if _, err := follow(t.Context(), c, client.FollowQuery{Service: web}, 1); !errors.As(err, new(*client.Unreachable)) {
			t.Errorf("it ends with %v", err)
		}
		s.asked = nil
		told, err := follow(t.Context(), c, client.FollowQuery{Service: web, KeepTrying: true}, 1)
		if err != nil {
			t.Fatal(err)
		}
		wantTold(t, told, "snapshot 5")
	})
}

func TestARefusalEndsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{
			saysAndEnds(snapshot(5)),
			{status: 403, body: `{"type":"urn:rollcall:problem:forbidden","status":403,"detail":"you may not read this"}`},
		}}
		_, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web}, 2)
		var refused *wire.Problem
		if !errors.As(err, &refused) || refused.Status != 403 || len(s.asked) != 2 {
			t.Errorf("it ends with %v after %d requests", err, len(s.asked))
		}
	})
}

// A registry that was restored does not know the position: what it has replaces the subscriber's copy.
func TestAPositionThatTheRegistryDoesNotKnowIsAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{
			saysAndEnds(snapshot(900, "a", "b")),
			{status: 422, body: `{"type":"urn:rollcall:problem:invalid-field","status":422,"field":"Last-Event-ID"}`},
			says(snapshot(5, "a")),
		}}
		copied := map[domain.Key]wire.Instance{}
		for u, err := range s.client(t).Follow(t.Context(), client.FollowQuery{Service: web}) {
			if err != nil {
				t.Fatal(err)
			}
			u.Apply(copied)
			if u.Kind == wire.StreamReset {
				break
			}
		}
		if len(copied) != 1 || s.asked[2].lastID != "" {
			t.Errorf("the copy is %v; the third request asked from %q on", copied, s.asked[2].lastID)
		}
	})
}

func TestApplyKeepsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remove := "id: 8\nevent: change\ndata: {\"position\":\"8\",\"op\":\"delete\",\"namespace\":\"default\",\"service\":\"web\",\"id\":\"a\"}\n\n"
		s := &script{steps: []step{says(snapshot(5, "a", "b"), put(6, "c"), put(7, "b"), remove)}}
		copied := map[domain.Key]wire.Instance{}
		for u, err := range s.client(t).Follow(t.Context(), client.FollowQuery{Service: web}) {
			if err != nil {
				t.Fatal(err)
			}
			u.Apply(copied)
			if u.ID == "8" {
				break
			}
		}
		_, b := copied[domain.Key{Namespace: "default", Service: "web", ID: "b"}]
		_, c := copied[domain.Key{Namespace: "default", Service: "web", ID: "c"}]
		if len(copied) != 2 || !b || !c {
			t.Errorf("the copy is %v", copied)
		}
	})
}

func TestWhatCannotBeReadEndsAStream(t *testing.T) {
	for _, message := range []string{
		"event: snapshot\ndata: [\n\n", "event: change\ndata: null\n\n", "event: change\ndata: {\"op\":\"put\"}\n\n", "event: surprise\ndata: {}\n\n", "data: {}\n\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{says(message)}}
			if _, err := follow(t.Context(), s.client(t), client.FollowQuery{Service: web}, 1); !errors.As(err, new(*client.NotRollcall)) {
				t.Errorf("%q: it ends with %v", message, err)
			}
		})
	}
}

func TestAFollowerOfEverythingAsksForTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := "id: 9\nevent: snapshot\ndata: {\"position\":\"9\",\"services\":[{\"service\":\"web\",\"instances\":[{\"namespace\":\"prod\",\"service\":\"web\",\"id\":\"a\"}]},{\"service\":\"db\",\"instances\":[{\"namespace\":\"prod\",\"service\":\"db\",\"id\":\"b\"},{\"namespace\":\"prod\",\"service\":\"db\",\"id\":\"c\"}]}]}\n\n"
		s := &script{steps: []step{says(all)}}
		filter := client.InstanceFilter{Ready: true, Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"}}
		for u, err := range s.client(t).Follow(t.Context(), client.FollowQuery{Namespace: "prod", InstanceFilter: filter}) {
			if err != nil || len(u.Instances) != 3 {
				t.Fatalf("%+v, %v", u, err)
			}
			break
		}
		if want := "/v1/streams/catalog?meta.team=shop&ns=prod&ready=true&tag=canary"; s.asked[0].path != want {
			t.Errorf("asked for %s, want %s", s.asked[0].path, want)
		}
	})
}

func TestAStreamThatDoesNotBeginIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("http://registry", client.Options{Timeout: 3 * time.Second, Transport: mute{}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = follow(t.Context(), c, client.FollowQuery{Service: web}, 1)
		if took := time.Since(began); err == nil || err.Error() != "no answer from http://registry: nothing came within 3s" || took != 3*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if _, err := c.Services(t.Context(), "", ""); err == nil || err.Error() != "no answer from http://registry: nothing came within 3s" {
			t.Errorf("a call: %v", err)
		}
	})
}

// mute takes requests and never answers.
type mute struct{}

func (mute) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}
