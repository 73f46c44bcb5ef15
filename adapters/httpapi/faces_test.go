package httpapi_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// HEAD is GET without the body.
func TestHeadIsAnsweredWhereGetIs(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for _, path := range []string{
		"/healthz", "/readyz", "/metrics", "/openapi.yaml", "/v1/services", "/v1/services/checkout", lookup, a1, "/v1/catalog", "/v1/history", a1 + "/history", "/v1/events", "/v1/webhooks",
		"/v1/checkpoint/key", "/v1/services/nobody", "/v1/nothing", "/healthz?x=1", "/v1/diff?from=0&to=1",
	} {
		get := s.send("GET", path, "")
		head, err := http.Head(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = head.Body.Close()
		for _, name := range []string{"Content-Type", "Etag", "Content-Length"} {
			if name == "Content-Length" && (path == "/metrics" || get.StatusCode >= 400) {
				continue // of the metrics it changes, and with the request's id
			}
			if a, b := head.Header.Get(name), get.Header.Get(name); a != b {
				t.Errorf("%s: HEAD says %s: %s, GET %s", path, name, a, b)
			}
		}
		if head.StatusCode != get.StatusCode {
			t.Errorf("%s: HEAD gives %d, GET %d", path, head.StatusCode, get.StatusCode)
		}
	}
}

func TestHeadOfAStreamEndsAfterItsHeaders(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	client := http.Client{Timeout: 10 * time.Second}
	for path, kind := range map[string]string{
		"/v1/streams/catalog": "text/event-stream", "/v1/streams/services/checkout": "text/event-stream", "/v1/streams/events": "text/event-stream", "/v1/events?follow=true": "application/x-ndjson",
	} {
		resp, err := client.Head(s.URL + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(got, kind) {
			t.Errorf("%s: %d, %s", path, resp.StatusCode, got)
		}
	}
	resp, err := client.Head(s.URL + "/v1/streams/catalog?nothing=1")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 422 {
		t.Errorf("an unknown parameter gives %d", resp.StatusCode)
	}
}

// A panic and an error are told to the log under the request's id. Where the reply has begun, it is cut off.
func TestAPanicIsLoggedAndCutsItsReplyOff(t *testing.T) {
	var written bytes.Buffer // after the server has ended, nobody writes to it
	e := echo.New()
	e.HTTPErrorHandler = web.Fail(slog.New(slog.NewTextHandler(&written, nil)))
	e.Use(web.NewRequestIDs().Identify, web.Recover)
	begin := func(c echo.Context) { _, _ = c.Response().Write([]byte("a part")) }
	e.GET("/panic", func(echo.Context) error { panic("before") })
	e.GET("/late", func(c echo.Context) error { begin(c); panic("after") })
	e.GET("/error", func(c echo.Context) error { begin(c); return errors.New("broken") })
	server := httptest.NewServer(e)
	for path, cut := range map[string]bool{"/panic": false, "/late": true, "/error": true} {
		r, err := http.NewRequest("GET", server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Request-Id", "id-of-"+path[1:])
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if cut != (err != nil) {
			t.Errorf("%s: %v", path, err)
		}
		if !cut && resp.StatusCode != 500 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	server.Close()
	for _, want := range []string{"id-of-panic", "panic: before", "id-of-late", "panic: after", "faces_test.go", "id-of-error", "broken"} {
		if !strings.Contains(written.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, written.String())
		}
	}
}

// What only waits holds no turn, and what does not wait takes one, whatever its parameters say.
func TestATurnIsHeldWhileThereIsWork(t *testing.T) {
	turns := web.NewTurns(1)
	e := echo.New()
	e.HTTPErrorHandler = web.Fail(slog.New(slog.DiscardHandler))
	inside, release := make(chan struct{}), make(chan struct{})
	free := func() bool {
		if !turns.TryEnter() {
			return false
		}
		turns.Leave()
		return true
	}
	e.GET("/works", func(c echo.Context) error {
		if free() {
			t.Error("work holds no turn")
		}
		return c.NoContent(204)
	}, turns.Admit)
	e.GET("/waits", func(c echo.Context) error {
		resume := web.Pause(c)
		inside <- struct{}{}
		<-release
		if err := resume(); err != nil {
			return err
		}
		if free() {
			t.Error("after the wait there is no turn")
		}
		web.Leave(c)
		if !free() {
			t.Error("the reply is written in a turn")
		}
		return web.AnswerJSON(c, 200, []byte("{}"))
	}, turns.Admit)
	get := func(path string) int {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	waited := make(chan int, 1)
	go func() { waited <- get("/waits") }()
	<-inside
	if got := get("/works?wait=1s"); got != 204 {
		t.Errorf("beside one that waits: %d", got)
	}
	close(release)
	if got := <-waited; got != 200 {
		t.Errorf("the wait ends with %d", got)
	}
	if !free() {
		t.Error("a turn is lost")
	}
}
