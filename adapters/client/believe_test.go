package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// stranger answers as another server than a registry would, and counts requests and tokens.
type stranger struct {
	answer func(r *http.Request) *http.Response
	asked  []string
	tokens []string
}

func (s *stranger) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked, s.tokens = append(s.asked, r.URL.Scheme+"://"+r.URL.Host), append(s.tokens, r.Header.Get("Authorization"))
	resp := s.answer(r)
	resp.Request, resp.Status = r, http.StatusText(resp.StatusCode)
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	return resp, nil
}

func (s *stranger) client(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(url, client.Options{Transport: s, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func says200(header http.Header, body string) func(*http.Request) *http.Response {
	return func(*http.Request) *http.Response {
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader(body))}
	}
}

// JSON of another server, which decodes to a value with nothing in it, is neither an empty catalog nor the answer to a command.
func TestTheJSONOfAnotherServerIsNoAnswer(t *testing.T) {
	for _, body := range []string{"{}", "null", `{"status":"ok"}`, `{"services":[],"instances":[],"position":"7","epoch":1}`} {
		c := (&stranger{answer: says200(http.Header{"Content-Type": {"application/json"}}, body)}).client(t, "http://registry")
		_, lookup := c.Services(t.Context(), "", "")
		_, command := c.Register(t.Context(), key, domain.Details{Address: "10.0.0.1"})
		_, deregistered := c.Deregister(t.Context(), key, "")
		for _, err := range []error{lookup, command, deregistered, c.RevokeToken(t.Context(), "x", "")} {
			if !errors.As(err, new(*client.NotRollcall)) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", body, err)
			}
		}
		var doubt *client.Unreachable
		if !errors.As(deregistered, &doubt) || !doubt.Unknown { // a proxy may have left out the headers
			t.Errorf("%s: %v does not say that the command may have been carried out", body, deregistered)
		}
	}
}

// Also with the headers of a registry, which a proxy may have put there, an answer without any field of its kind is none: it would be
// read as an empty list, or as a log without events that is verified. A field that this version does not know is no fault, nor is a
// field that an earlier version did not have.
func TestAnAnswerWithoutAnyOfItsFieldsIsNone(t *testing.T) {
	asks := map[string]func(c *client.Client) error{
		"services": func(c *client.Client) error { _, err := c.Services(t.Context(), "", ""); return err },
		"webhooks": func(c *client.Client) error { _, err := c.Webhooks(t.Context()); return err },
		"policies": func(c *client.Client) error { _, err := c.Policies(t.Context()); return err },
		"leaves":   func(c *client.Client) error { _, err := c.Leaves(t.Context(), 0, 1); return err },
		"status":   func(c *client.Client) error { _, err := c.Status(t.Context()); return err },
		"instance": func(c *client.Client) error { _, err := c.Instance(t.Context(), key, ""); return err },
		"key":      func(c *client.Client) error { _, err := c.CheckpointKey(t.Context()); return err },
		"signed":   func(c *client.Client) error { _, err := c.Checkpoint(t.Context()); return err },
	}
	header := http.Header{"Content-Type": {"application/json"}, "Rollcall-Position": {"5"}}
	for _, body := range []string{"{}", "null", `{"unknown":[1]}`} {
		c := (&stranger{answer: says200(header, body)}).client(t, "http://registry")
		for name, ask := range asks {
			if err := ask(c); !errors.As(err, new(*client.NotRollcall)) {
				t.Errorf("%s for %s: %v", body, name, err)
			}
		}
	}
	for name, body := range map[string]string{
		"services": `{"services":[],"unknown":[1]}`, "webhooks": `{"webhooks":null}`, "policies": `{"policies":[]}`, "leaves": `{"size":0,"hashes":[]}`,
		"status": `{"version":""}`, "key": "rollcall/x+1+y", "signed": "rollcall/x\n0\n",
	} {
		c := (&stranger{answer: says200(header, body)}).client(t, "http://registry")
		if err := asks[name](c); err != nil {
			t.Errorf("%s for %s: %v", body, name, err)
		}
	}
}

// What a registry says of another instance, or without an epoch, acknowledges nothing.
func TestAResultOfAnotherInstanceAcknowledgesNothing(t *testing.T) {
	for _, body := range []string{
		"{}", "null", `{"namespace":"default","service":"web","id":"other","position":"7","epoch":1,"revision":0}`,
		`{"namespace":"default","service":"web","id":"a","position":"7"}`, `{"namespace":"default","service":"web","id":"a","position":"99999999999999999999","epoch":1}`,
	} {
		c := (&stranger{answer: says200(http.Header{"Rollcall-Position": {"7"}}, body)}).client(t, "http://registry")
		_, err := c.Register(t.Context(), key, domain.Details{Address: "10.0.0.1"})
		var doubt *client.Unreachable
		if !errors.As(err, new(*client.NotRollcall)) || !errors.As(err, &doubt) || !doubt.Unknown {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestAPositionThatIsNoneIsNoAnswer(t *testing.T) {
	for _, position := range []string{"-1", "99999999999999999999999", "x", "007"} {
		c := (&stranger{answer: says200(http.Header{"Rollcall-Position": {position}}, `{"services":[]}`)}).client(t, "http://registry")
		if _, err := c.Services(t.Context(), "", ""); !errors.As(err, new(*client.NotRollcall)) {
			t.Errorf("%s: %v", position, err)
		}
	}
}

// endless is a body without an end.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	e.read += int64(len(b))
	return len(b), nil
}
func (*endless) Close() error { return nil }

func TestAnAnswerWithoutAnEndTakesNoMemoryWithoutAnEnd(t *testing.T) {
	for name, header := range map[string]http.Header{"of another server": {}, "of a registry": {"Rollcall-Position": {"7"}}} {
		body := &endless{}
		c := (&stranger{answer: func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusOK, Header: header, Body: body}
		}}).client(t, "http://registry")
		if _, err := c.Heartbeat(t.Context(), key); err == nil || strings.Contains(err.Error(), "\n") || body.read > 65<<20 {
			t.Errorf("%s: %v after %d bytes", name, err, body.read)
		}
	}
}

// A token goes to no other server, and a command is not carried out there, whatever the registry's server says.
func TestARedirectToAnotherServerIsNotFollowed(t *testing.T) {
	for to, followed := range map[string]bool{
		"http://registry:7700/v1/elsewhere": true,
		"https://registry/v1/services":      true, // from http
		"https://registry:7701/v1/services": true,
		"http://registry:7701/v1/services":  false,
		"http://registry/v1/services":       false,
		"http://api.registry:7700/v1/x":     false,
		"http://evil:7700/v1/services":      false,
		"//evil:7700/v1/services":           false,
		"http://registry:7700@evil/v1":      false,
		"https://registry.evil/v1/services": false,
		"ftp://registry:7700/v1/services":   false,
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s := &stranger{}
			s.answer = func(r *http.Request) *http.Response {
				if len(s.asked) > 1 {
					return says200(http.Header{"Rollcall-Position": {"7"}}, `{"services":[]}`)(r)
				}
				return &http.Response{StatusCode: status, Header: http.Header{"Location": {to}}}
			}
			_, err := s.client(t, "http://registry:7700").Services(t.Context(), "", "")
			if followed != (err == nil) || followed != (len(s.asked) == 2) || err != nil && (!errors.As(err, new(*client.NotRollcall)) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("%d to %s: %v; asked were %v with %v", status, to, err, s.asked, s.tokens)
			}
		}
	}
}

func TestNoRedirectLeadsFromHTTPSToHTTP(t *testing.T) {
	s := &stranger{answer: func(*http.Request) *http.Response {
		return &http.Response{StatusCode: 308, Header: http.Header{"Location": {"http://registry/v1/services"}}}
	}}
	_, err := s.client(t, "https://registry").Services(t.Context(), "", "")
	if err == nil || len(s.asked) != 1 || !strings.Contains(err.Error(), "to http://registry, where the client does not follow") {
		t.Errorf("%v; asked were %v", err, s.asked)
	}
}

func TestRedirectsWithoutAnEndAreAnAnswer(t *testing.T) {
	s := &stranger{answer: func(*http.Request) *http.Response {
		return &http.Response{StatusCode: 308, Header: http.Header{"Location": {"/v1/services"}}}
	}}
	if _, err := s.client(t, "http://registry").Services(t.Context(), "", ""); !errors.As(err, new(*client.NotRollcall)) || len(s.asked) != 10 {
		t.Errorf("%v after %d requests", err, len(s.asked))
	}
}

// Headers, and interim answers, without an end are left to net/http, which must bound them.
func TestHeadersWithoutAnEndAreNoAnswer(t *testing.T) {
	for name, first := range map[string]string{"headers": "HTTP/1.1 200 OK\r\n", "interim answers": ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			more := map[string]string{"headers": "X: " + strings.Repeat("x", 1000) + "\r\n", "interim answers": "HTTP/1.1 103 Early Hints\r\nX: " + strings.Repeat("x", 1000) + "\r\n\r\n"}[name]
			for _, err = io.WriteString(conn, first); err == nil; {
				_, err = io.WriteString(conn, more)
			}
		}))
		c, err := client.New(server.URL, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err = c.Services(ctx, "", "")
		if !errors.As(err, new(*client.Unreachable)) || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		server.Close()
	}
}

// A kept instance is registered only when the registry says so of this very instance, and it is left to another owner only when the
// registry names that owner.
func TestNonsenseNeitherRegistersNorReplacesAKeptInstance(t *testing.T) {
	registered := `{"succeeded":[{"index":0,"namespace":"default","service":"web","id":"a","position":"7","epoch":1,"revision":0}],"failed":[],"position":"7"}`
	other := `{"succeeded":[],"failed":[{"index":0,"problem":{"type":"urn:rollcall:problem:other-owner","status":409}}],"position":"8"}`
	for name, one := range map[string]struct{ commands, heartbeats, instance, phase string }{
		"an answer without names":         {`{"succeeded":[{"index":0}],"failed":[],"position":"7"}`, "{}", "{}", "pending"},
		"an answer about another":         {strings.ReplaceAll(registered, `"a"`, `"b"`), "{}", "{}", "pending"},
		"an answer of nothing":            {"null", "null", "null", "pending"},
		"an answer that names nothing":    {`{"succeeded":[],"failed":[],"omitted":1,"position":"7"}`, "{}", "{}", "pending"},
		"a count of too many":             {registered, `{"succeeded":[],"failed":[],"omitted":2,"position":"8"}`, "{}", "registered"},
		"a count of fewer than none":      {registered, `{"succeeded":[],"failed":[],"omitted":-1,"position":"8"}`, "{}", "registered"},
		"an owner whose instance is none": {registered, other, "{}", "registered"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &stranger{}
			s.answer = func(r *http.Request) *http.Response {
				body := one.instance
				switch r.URL.Path {
				case "/v1/commands":
					body = one.commands
				case "/v1/heartbeats":
					body = one.heartbeats
				}
				return says200(http.Header{"Rollcall-Position": {"7"}}, body)(r)
			}
			kept, err := s.client(t, "http://registry").Keep(t.Context(), client.Registration{Key: key, Details: domain.Details{Address: "10.0.0.1"}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			state := kept.State()
			if string(state.Phase) != one.phase || !errors.As(state.Err, new(*client.NotRollcall)) || len(s.asked) > 80 {
				t.Errorf("%s: %+v after %d requests", name, state, len(s.asked))
			}
			kept.End("")
			<-kept.Done()
			if state := kept.State(); one.commands != registered && state.Err == nil {
				t.Errorf("%s: the end without an answer is told as one that was confirmed", name)
			}
		})
	}
}
