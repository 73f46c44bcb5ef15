package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rawConn is a connection on which a test says byte by byte what it sends.
type rawConn struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (s *server) dial() *rawConn {
	s.t.Helper()
	var c net.Conn
	var err error
	if address, ok := strings.CutPrefix(s.URL, "https://"); ok {
		c, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	} else {
		c, err = net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return &rawConn{c, s.t, bufio.NewReader(c)}
}

func (w *rawConn) say(request string) {
	w.t.Helper()
	if _, err := w.Write([]byte(request)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rawConn) hear() reply {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Request = &http.Request{Method: "?"}
	return reply{resp, body}
}

func request(method, path string, header ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(header, ""), "\r\n") + "\r\n"
}

const (
	beatA1 = a1 + "/heartbeat"
	lookup = "/v1/services/checkout/instances"
)

// A connection's first request is the server's; a plain heartbeat after it is the lane's.
func TestTheLaneAnswersAsTheServerDoes(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	replies := s.twice(request("PUT", beatA1, "User-Agent: agent/1.0", "Content-Length: 0", "Connection: keep-alive"))
	var bodies [2]map[string]any
	for i, r := range replies {
		if _, err := time.Parse(http.TimeFormat, r.Header.Get("Date")); err != nil {
			t.Error(err)
		}
		r.json(t, &bodies[i])
		if position := bodies[i]["position"]; position != r.Header.Get("Rollcall-Position") {
			t.Errorf("position %v in the body, %s in the header", position, r.Header.Get("Rollcall-Position"))
		}
		delete(bodies[i], "position")
		for _, name := range []string{"Date", "X-Request-Id", "Rollcall-Position"} {
			r.Header.Del(name)
		}
	}
	if fmt.Sprint(bodies[0]) != fmt.Sprint(bodies[1]) || fmt.Sprint(replies[0].Header) != fmt.Sprint(replies[1].Header) {
		t.Errorf("the server answers %v %v, the lane %v %v", replies[0].Header, bodies[0], replies[1].Header, bodies[1])
	}
}

// twice sends a request until the lane has answered it, and gives the server's reply and the lane's. The
// first is always the server's; a further one, too, if it comes before the server is back from replying.
func (s *server) twice(request string) (replies [2]reply) {
	s.t.Helper()
	w := s.dial()
	w.say(request)
	replies[0] = w.hear()
	for range 100 {
		before := s.api.Lane().Answered()
		w.say(request)
		if replies[1] = w.hear(); s.api.Lane().Answered() > before {
			return replies
		}
	}
	s.t.Fatal("the lane does not answer")
	return replies
}

func TestTheLaneLooksUpAsTheServerDoes(t *testing.T) {
	s := start(t)
	for i := range 12 { // enough for a reply that is sent in two parts
		s.send("PUT", fmt.Sprint(lookup, "/i", i), `{"address":"10.0.0.5","metadata":{"note":"`+strings.Repeat("x", 200)+`"}}`).want(t, 201)
		etag := s.send("GET", lookup, "").Header.Get("ETag")
		for _, header := range []string{"Accept: */*", "If-None-Match: " + etag, `If-None-Match: "other", W/` + etag, `If-None-Match: "other"`} {
			replies := s.twice(request("GET", lookup, header))
			for i := range replies {
				for _, name := range []string{"Date", "X-Request-Id"} {
					if replies[i].Header.Get(name) == "" {
						t.Errorf("no %s", name)
					}
					replies[i].Header.Del(name)
				}
			}
			if a, b := replies[0], replies[1]; a.Status != b.Status || string(a.body) != string(b.body) || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) {
				t.Errorf("%s: the server answers %s %v %s, the lane %s %v %s", header, a.Status, a.Header, a.body, b.Status, b.Header, b.body)
			}
		}
	}
}

// heartbeats counts those in the log.
func (s *server) heartbeats() int {
	s.t.Helper()
	return bytes.Count(s.send("GET", "/v1/events?heartbeats=true&type=HeartbeatReceived", "").want(s.t, 200).body, []byte("\n"))
}

func TestTheServerGetsWhatIsNotPlain(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"a query":              {request("PUT", beatA1+"?epoch=7"), 409},
		"a precondition":       {request("PUT", beatA1, `If-Match: "9"`), 412},
		"a body":               {request("PUT", beatA1, "Content-Length: 2") + "{}", 200},
		"chunks":               {request("PUT", beatA1, "Transfer-Encoding: chunked") + "0\r\n\r\n", 200},
		"a request id":         {request("PUT", beatA1, "X-Request-Id: mine"), 200},
		"another method":       {request("GET", beatA1), 405},
		"no host":              {"PUT " + beatA1 + " HTTP/1.1\r\n\r\n", 400},
		"two hosts":            {request("PUT", beatA1, "Host: y"), 400},
		"a folded header":      {request("PUT", beatA1, "Accept: a,", " b"), 200},
		"a control character":  {request("PUT", beatA1, "Accept: \x01"), 400},
		"a lookup's filter":    {request("GET", lookup+"?status=passing"), 200},
		"nobody there":         {request("GET", "/v1/services/nobody/instances"), 200},
		"an illegal service":   {request("GET", "/v1/services/No./instances"), 422},
		"two tags":             {request("GET", lookup, "If-None-Match: a", "If-None-Match: b"), 200},
		"an older HTTP":        {"PUT " + beatA1 + " HTTP/1.0\r\nHost: x\r\n\r\n", 200},
		"the end of the world": {request("PUT", beatA1, "Connection: close"), 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.dial()
			w.say(request("GET", "/healthz"))
			w.hear().want(t, 200)
			before := s.api.Lane().Answered()
			w.say(test.request)
			if r := w.hear(); r.StatusCode != test.status {
				t.Errorf("answered %d %s, want %d", r.StatusCode, r.body, test.status)
			}
			if s.api.Lane().Answered() != before {
				t.Error("the lane took it")
			}
		})
	}
}

// What a client sends before it has its reply is answered in the order in which it was sent.
func TestARequestIsNeverTakenOutOfItsPlace(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	beat, look := request("PUT", beatA1), request("GET", a1)
	t.Run("all at once", func(t *testing.T) {
		w := s.dial()
		w.say(look + beat + look + beat + beat)
		for i, want := range []string{"address", "position", "address", "position", "position"} {
			if r := w.hear().want(t, 200); !bytes.Contains(r.body, []byte(`"`+want+`"`)) {
				t.Errorf("reply %d is %s", i, r.body)
			}
		}
	})
	for _, begun := range []int{1, 2, 3, 4, 30} {
		t.Run(fmt.Sprint("begun with ", begun, " bytes"), func(t *testing.T) {
			w := s.dial()
			w.say(look + beat[:begun])
			w.hear().want(t, 200)
			w.say(beat[begun:])
			w.hear().want(t, 200)
			w.say(beat)
			w.hear().want(t, 200)
		})
	}
	t.Run("what only looks like a request", func(t *testing.T) {
		before := s.heartbeats()
		for _, garbage := range []string{"X", "XY", "XYZ"} {
			w := s.dial()
			w.say(look + garbage)
			w.hear().want(t, 200)
			w.say(beat) // "XPUT /v1/…"
			if r := w.hear(); r.StatusCode == 200 {
				t.Errorf("%s and a heartbeat was answered %d", garbage, r.StatusCode)
			}
		}
		if got := s.heartbeats(); got != before {
			t.Errorf("%d heartbeats were taken", got-before)
		}
	})
	t.Run("a heartbeat in a body", func(t *testing.T) {
		before := s.heartbeats()
		w := s.dial()
		w.say(look)
		w.hear().want(t, 200)
		w.say(request("PUT", a1, fmt.Sprint("Content-Length: ", len(beat))))
		time.Sleep(10 * time.Millisecond) // so that the body comes by itself
		w.say(beat)
		w.hear().want(t, 400)
		if got := s.heartbeats(); got != before {
			t.Errorf("%d heartbeats were taken", got-before)
		}
	})
}

// A heartbeat that was carried out is answered, also while the server stops.
func TestAStopLetsHeartbeatsBeAnswered(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	var answered atomic.Int64
	var clients sync.WaitGroup
	for range 32 {
		w := s.dial()
		clients.Go(func() {
			for {
				if _, err := w.Write([]byte(request("PUT", beatA1))); err != nil {
					return
				}
				resp, err := http.ReadResponse(w.r, nil)
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
					return
				}
				answered.Add(1)
			}
		})
	}
	for answered.Load() < 1000 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Config.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.api.Lane().Wait(t.Context()); err != nil {
		t.Error(err)
	}
	clients.Wait()
	if got := s.position(); got != answered.Load()+1 { // the registration
		t.Errorf("the log ends at %d, %d heartbeats were answered", got, answered.Load())
	}
}

func (s *server) position() (position int64) {
	s.t.Helper()
	recorded := httptest.NewRecorder() // the server may have stopped
	s.api.ServeHTTP(recorded, httptest.NewRequest("GET", "/v1/events?heartbeats=true", nil))
	for line := range bytes.Lines(recorded.Body.Bytes()) {
		var e struct {
			Position int64 `json:"position,string"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			s.t.Fatal(err)
		}
		position = e.Position
	}
	return position
}

// The way by which a command comes is recorded as each request says it, also on one connection, and the lane takes what agents send.
func TestTheLaneRecordsTheWayOfACommand(t *testing.T) {
	s := start(t)
	w := s.dial()
	w.say(request("GET", "/healthz"))
	w.hear().want(t, 200)
	before := s.api.Lane().Answered()
	want := []string{"cli", "http", "consul", "cli"}
	for i, via := range []string{"cli", "mine", "consul", "cli"} {
		body := fmt.Sprintf(`{"address":"10.0.0.%d"}`, i+1)
		w.say(request("PUT", a1, "Rollcall-Via: "+via, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body))) + body)
		w.hear()
		const batch = `["checkout/a-1"]`
		w.say(request("POST", "/v1/heartbeats", "Rollcall-Via: "+via, "Prefer: return=minimal", "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(batch))) + batch)
		w.hear().want(t, 200)
	}
	if got := s.api.Lane().Answered() - before; got != 8 {
		t.Errorf("the lane answered %d of 8", got)
	}
	var vias []string
	for line := range strings.Lines(string(s.send("GET", "/v1/events?heartbeats=true", "").want(t, 200).body)) {
		var e struct{ Metadata struct{ Via string } }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		vias = append(vias, e.Metadata.Via)
	}
	var twice []string // a registration and a heartbeat
	for _, via := range want {
		twice = append(twice, via, via)
	}
	if !slices.Equal(vias, twice) {
		t.Errorf("the events came by %v, not %v", vias, twice)
	}
}

// What clients of other languages send by themselves, as Node's fetch, tracing and .NET do, keeps no request out of the lane.
func TestTheLaneTakesWhatClientsSendByThemselves(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	const body = `{"address":"10.0.0.6"}`
	for name, r := range map[string]string{
		"fetch":      request("PUT", beatA1, "connection: keep-alive", "accept: */*", "accept-language: *", "sec-fetch-mode: cors", "user-agent: node", "accept-encoding: gzip, deflate", "content-length: 0"),
		"tracing":    request("GET", lookup, "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate: a=b"),
		"a charset":  request("PUT", a1, "Content-Type: application/json; charset=utf-8", fmt.Sprint("Content-Length: ", len(body))) + body,
		"no caching": request("GET", lookup, "Cache-Control: no-cache"),
	} {
		w := s.dial()
		w.say(request("GET", "/healthz"))
		w.hear().want(t, 200)
		before := s.api.Lane().Answered()
		w.say(r)
		if got := w.hear().want(t, 200); s.api.Lane().Answered() != before+1 {
			t.Errorf("%s: the server answered %s", name, got.body)
		}
	}
}
