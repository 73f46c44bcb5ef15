package httpapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// twins are two registries that are told the same. One has the lane, the other net/http alone.
type twins struct {
	lane, plain *server
	beats       int // heartbeats that a connection sends first
}

func startTwins(t testing.TB) twins {
	t.Helper()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	both := twins{lane: startOn(t, pebblestore.Options{Now: func() time.Time { return noon }}), plain: startOn(t, pebblestore.Options{Now: func() time.Time { return noon }})}
	plain := httptest.NewServer(both.plain.api)
	t.Cleanup(plain.Close)
	both.plain.URL = plain.URL // not the listener that has the lane
	for _, s := range []*server{both.lane, both.plain} {
		s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
		s.send("PUT", "/v1/services/many/instances/b-1", `{"owner":"agent:host-1","address":"10.0.0.5","metadata":{"a":"`+strings.Repeat("x", 1000)+`","b":"`+strings.Repeat("y", 1000)+`","c":"`+strings.Repeat("z", 1000)+`"}}`).want(t, 201)
		s.send("PUT", lookup+"/a-1?ns=shop", `{"owner":"agent:host-1","address":"10.0.0.6"}`).want(t, 201)
	}
	return both
}

// What differs between two registries that were told the same at another second.
var (
	processID = regexp.MustCompile(`[a-z0-9]{20}-`) // of request ids; their numbers are the same
	date      = regexp.MustCompile(`Date: [^\r]*`)
	upTo      = regexp.MustCompile(`Rollcall-Position: [0-9]+`) // a lookup may come before the catalog has applied a heartbeat
)

// talk sends heartbeats and then the writes on a connection of its own, and gives all that the server sends after the
// heartbeats: the replies, byte by byte.
func (s *server) talk(beats, replies int, writes ...string) string {
	s.t.Helper()
	w := s.dial()
	w.say(request("GET", "/healthz"))
	w.hear().want(s.t, 200)
	for range beats {
		w.say(request("PUT", beatA1))
		w.hear().want(s.t, 200)
	}
	var all bytes.Buffer
	w.r = bufio.NewReader(io.TeeReader(w.Conn, &all))
	_ = w.SetDeadline(time.Now().Add(20 * time.Second))
	for i, text := range writes {
		time.Sleep(time.Duration(min(i, 1)) * time.Millisecond) // the parts come one by one
		if _, err := w.Write([]byte(text)); err != nil {
			break // the server has had enough
		}
	}
	method, _, _ := strings.Cut(writes[0], " ")
	for heard := 0; heard < replies; {
		resp, err := http.ReadResponse(w.r, &http.Request{Method: method}) // of HEAD it must know
		if err != nil {
			all.WriteString("\nthere is no reply")
			break
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			all.WriteString("\nthe reply breaks off")
		}
		if resp.StatusCode >= http.StatusOK { // before it may come 100 Continue, which is no reply
			heard++
		}
		if resp.Close {
			// Where the server closes before it has read all that was sent, the end of the stream may be a reset, by chance. Each reply is here.
			_, _ = io.Copy(io.Discard, w.r)
			break
		}
	}
	same := processID.ReplaceAllString(all.String(), "process-")
	return upTo.ReplaceAllString(date.ReplaceAllString(same, "Date: now"), "Rollcall-Position: newest")
}

func (b twins) compare(t testing.TB, replies int, writes ...string) {
	t.Helper()
	if lane, plain := b.lane.talk(b.beats, replies, writes...), b.plain.talk(b.beats, replies, writes...); lane != plain {
		t.Errorf("%.600q:\nthe lane    %.1200q\nthe server  %.1200q", writes, lane, plain)
	}
}

const plainBody = `{"address":"10.0.0.9"}`

// requests are requests by their names, and the ETag of the lookup.
func (b twins) requests() (requests map[string]string, etag string) {
	etag = b.lane.send("GET", lookup, "").Header.Get("ETag")
	b.plain.send("GET", lookup, "")
	readyTag := b.lane.send("GET", lookup+"?ready=true", "").Header.Get("ETag")
	b.plain.send("GET", lookup+"?ready=true", "")
	send := func(method, path, body string) string {
		return request(method, path, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body))) + body
	}
	requests = map[string]string{
		"heartbeat":                  request("PUT", beatA1, "User-Agent: agent/1.0", "Content-Length: 0"),
		"lookup":                     request("GET", lookup, "Accept: */*"),
		"long lookup":                request("GET", "/v1/services/many/instances"),
		"a namespace's heartbeat":    request("PUT", lookup+"/a-1/heartbeat?ns=shop"),
		"a namespace's lookup":       request("GET", lookup+"?ready=true&ns=shop"),
		"a namespace's registration": send("PUT", lookup+"/a-2?ns=shop", plainBody),
		"a namespace's batch":        send("POST", "/v1/heartbeats?owner=agent%3Ahost-1&ns=shop", `["checkout/a-1","default/many/b-1","checkout/nobody"]`),
		"an empty namespace":         request("GET", lookup+"?ns=shopping"),
		"an illegal namespace":       request("PUT", lookup+"/a-1/heartbeat?ns=_Shop."),
		"an illegal namespace's":     send("PUT", lookup+"/a-1?ns=_Shop.", plainBody),
		"an illegal lookup":          request("GET", lookup+"?ns=_Shop."),
		"a batch of none":            send("POST", "/v1/heartbeats?ns=_Shop.", `["checkout/a-1","default/many/b-1"]`),
		"every namespace":            request("GET", lookup+"?ns=*"),
		"no namespace":               request("GET", lookup+"?ns="),
		"two namespaces":             request("GET", lookup+"?ns=shop&ns=default"),
		"a filter that is no text":   request("GET", lookup+"?ready=true&zone=%00"),
		"a filter of no UTF-8":       request("GET", lookup+"?tag=\xff"),
		"an owner that is no text":   request("POST", "/v1/heartbeats?owner=%00"),
		"ready":                      request("GET", lookup+"?ready=true", "Accept-Encoding: gzip"),
		"another language's":         strings.Replace(send("PUT", lookup+"/a-1?ns=shop", `{"address":"10.0.0.6"}`), "application/json", "application/json; charset=UTF-8", 1),
		"a traced heartbeat":         request("PUT", beatA1, "sec-fetch-mode: cors", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b", "cache-control: no-cache"),
		"ready, unchanged":           request("GET", lookup+"?ready=true", "If-None-Match: "+readyTag),
		"ready or not":               request("GET", lookup+"?ready=false"),
		"ready twice":                request("GET", lookup+"?ready=true&ready=true"),
		"unchanged":                  request("GET", lookup, "If-None-Match: "+etag),
		"changed":                    request("GET", lookup, `If-None-Match: "x"`),
		"nobody there":               request("GET", "/v1/services/nobody/instances"),
		"nobody's":                   request("PUT", strings.Replace(beatA1, "/a-1/", "/nobody/", 1)),
		"an illegal name":            request("PUT", strings.Replace(beatA1, "/checkout/", "/_/", 1)),
		"a query":                    request("PUT", beatA1+"?epoch=7"),
		"a body":                     send("PUT", a1, plainBody),
		"another address":            send("PUT", a1, `{"address":"10.0.0.10","ports":{"http":80}}`),
		"an old epoch":               send("PUT", a1, `{"address":"10.0.0.9","epoch":9}`),
		"a wrong field":              send("PUT", a1, `{"address":"10.0.0.9","weight":-1}`),
		"a wrong address":            send("PUT", a1, `{"address":"0.0.0.0"}`),
		"an odd id":                  send("PUT", "/v1/services/checkout/instances/a:1;b,c@(d)", plainBody),
		"no id":                      send("PUT", "/v1/services/checkout/instances/..", plainBody),
		"a short batch":              send("POST", "/v1/heartbeats", `["checkout/a-1","checkout/nobody","x","checkout/a-1"]`),
		"a long batch":               send("POST", "/v1/heartbeats", `["`+strings.Repeat(`checkout/a-1","`, 59)+`many/b-1"]`),
		"an owner's batch":           send("POST", "/v1/heartbeats?owner=agent%3Ahost-1", `["many/b-1","checkout/a-1","checkout/nobody"]`),
		"two owners":                 send("POST", "/v1/heartbeats?owner=a&owner=b", `["checkout/a-1"]`),
		"half an owner":              send("POST", "/v1/heartbeats?owner=%3", `["checkout/a-1"]`),
		"no owner":                   send("POST", "/v1/heartbeats?owner=", `["checkout/a-1"]`),
		"a minimal batch":            strings.Replace(send("POST", "/v1/heartbeats", `["checkout/a-1","checkout/nobody","many/b-1"]`), "\r\n", "\r\nPrefer: return=minimal\r\n", 1),
		"another wish":               strings.Replace(send("POST", "/v1/heartbeats", `["checkout/a-1"]`), "\r\n", "\r\nPrefer: wait=7, RETURN=\"minimal\"\r\n", 1),
		"an odd batch":               send("POST", "/v1/heartbeats", `["checkout/a-1",7]`),
		"chunks":                     request("PUT", a1, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(plainBody), plainBody),
	}
	return requests, etag
}

// The lane's replies are the server's, byte for byte, wherever a request is cut in two and however many are sent
// at once.
func TestTheLaneIsByteForByteTheServer(t *testing.T) {
	b := startTwins(t)
	requests, etag := b.requests()
	for name, r := range requests {
		t.Run(name, func(t *testing.T) {
			for cut := 1; cut < len(r); cut += 1 + len(r)/70 {
				b.compare(t, 1, r[:cut], r[cut:])
			}
			b.compare(t, 3, r, r, r)
			b.compare(t, 3, r+r+r)
			b.compare(t, 5, r+r[:3], r[3:]+r, r, r[:len(r)-1], r[len(r)-1:])
		})
	}
	t.Run("all of them at once", func(t *testing.T) {
		var all strings.Builder
		for range 3 {
			for _, name := range []string{"heartbeat", "a body", "lookup", "chunks", "nobody's", "unchanged", "another address", "a short batch"} {
				all.WriteString(requests[name])
			}
		}
		b.compare(t, 24, all.String())
		for cut := 1; cut < all.Len(); cut += 37 {
			b.compare(t, 24, all.String()[:cut], all.String()[cut:])
		}
	})
	t.Run("odd headers", func(t *testing.T) {
		for _, header := range []string{
			"Accept:", "Accept:x", "Accept: \tx", "accept: x ", "Accept : x", " Accept: x", "Accept: a,\r\n b", "Accept: \x01", "Accept: \x80", "X-Request-Id: mine", "If-None-Match:",
			"If-None-Match: *", "If-None-Match: " + etag + ", W/" + etag, "If-Match: \"1\"", "Content-Length: 0", "Content-Length: 00", "Content-Length: +0", "Content-Length: 0, 0", "Content-Length: x",
			"Connection: close", "Connection: Keep-Alive", "Connection: keep-alive, close", "Connection:", "Host: y", "Host:", "Expect: 100-continue", "Transfer-Encoding: identity",
			"Upgrade: h2c", "Range: bytes=0-1", "Origin: http://x", "Origin: http://y", "Sec-Fetch-Site: cross-site", "Content-Type: text/plain", "User-Agent: " + strings.Repeat("a", 5000), ":", "x", "",
		} {
			odd := []string{request("PUT", beatA1, header), request("GET", lookup, header)}
			if header != "" { // the body would be another request
				odd = append(odd, request("PUT", a1, header, fmt.Sprint("Content-Length: ", len(plainBody)))+plainBody)
			}
			for _, r := range odd {
				b.compare(t, 1, r)
				b.compare(t, 2, r+requests["heartbeat"])
			}
		}
		for _, line := range []string{"PUT " + beatA1 + " HTTP/1.0", "PUT  " + beatA1 + " HTTP/1.1", "put " + beatA1 + " HTTP/1.1", "PUT http://x" + beatA1 + " HTTP/1.1", "PUT " + beatA1 + " HTTP/1.1 ", "HEAD " + lookup + " HTTP/1.1", "GET " + lookup + "? HTTP/1.1", "GET " + lookup + "/ HTTP/1.1", "GET //v1/services HTTP/1.1"} {
			b.compare(t, 1, line+"\r\nHost: x\r\n\r\n")
			b.compare(t, 1, line+"\nHost: x\n\n")
			b.compare(t, 1, line+"\r\n\r\n")
		}
	})
}

// So are the replies on a connection that joined a loop by its heartbeats.
func TestTheLoopIsByteForByteTheServer(t *testing.T) {
	b := startTwins(t)
	requests, _ := b.requests()
	b.beats = 12
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		r := requests[name]
		for cut := 1; cut < len(r); cut += 1 + len(r)/2 {
			b.compare(t, 1, r[:cut], r[cut:])
		}
		b.compare(t, 3, r+r+r)
		b.compare(t, 5, r+r[:3], r[3:]+r, r, r[:len(r)-1], r[len(r)-1:])
		all.WriteString(r + requests["heartbeat"])
	}
	b.compare(t, 2*len(requests), all.String())
	if runtime.GOOS == "linux" && b.lane.api.Lane().Joined() == 0 {
		t.Error("no connection joined a loop")
	}
}

// The server's read buffer holds 4,096 bytes. When a line fills all of it but the last byte, the server reads one
// byte, which is not the read of one byte by which it looks out for the client's going.
func TestARequestMayFillTheReadBufferButForAByte(t *testing.T) {
	b := startTwins(t)
	for length := 4090; length <= 4100; length++ {
		long := func(begin string) string { return begin + strings.Repeat("a", length-len(begin)) }
		beat := request("PUT", beatA1)
		b.compare(t, 2, long("GET /healthz?x="), " HTTP/1.1\r\nHost: x\r\n\r\n", beat)
		b.compare(t, 2, "GET "+lookup+" HTTP/1.1\r\nHost: x\r\n", long("Accept: "), "\r\n\r\n", beat)
		b.compare(t, 2, request("PUT", a1, "Transfer-Encoding: chunked"), long("1;"), "\r\n{\r\n0\r\n\r\n", beat)
		b.compare(t, 2, request("PUT", a1, fmt.Sprint("Content-Length: ", length+1)), long("{"), "}", beat)
		look := request("GET", lookup)
		b.compare(t, 3, look+long(look[:len(look)-2]+"Accept: "), "\r\n\r\n"+beat)
	}
}

// A heartbeat that the store refuses is answered with what became of it, by the lane as by the server.
func TestTheLaneAnswersAHeartbeatThatFailed(t *testing.T) {
	s := startBroken(t)
	replies := s.twice(request("PUT", beatA1))
	for i := range replies {
		replies[i].problem(t, 503, "read-only", "")
		for _, name := range []string{"Date", "X-Request-Id"} {
			replies[i].Header.Del(name)
		}
	}
	if a, b := fmt.Sprint(replies[0].Header), fmt.Sprint(replies[1].Header); a != b {
		t.Errorf("the server answers with %s, the lane with %s", a, b)
	}
}

// Whatever a request without a body says in its headers, and wherever it is cut, the replies are the same.
func FuzzTheLane(f *testing.F) {
	b := startTwins(f)
	for _, header := range []string{"", "Content-Length: 0\r\n", "accept:x\r\nConnection: keep-alive\r\n", "If-None-Match: *\r\n", "Accept: a\r\n b\r\n", "Host: y\r\n", "\x00"} {
		f.Add(true, header, uint16(20))
		f.Add(false, header, uint16(1))
	}
	f.Fuzz(func(t *testing.T, heartbeat bool, header string, cut uint16) {
		r := "GET " + lookup
		if heartbeat {
			r = "PUT " + beatA1
		}
		r += " HTTP/1.1\r\nHost: x\r\n" + header + "\r\n"
		rest := strings.NewReader(r)
		buffered := bufio.NewReader(rest)
		parsed, err := http.ReadRequest(buffered)
		if errors.Is(err, io.ErrUnexpectedEOF) || len(r) > 4096 || err == nil && (parsed.ContentLength != 0 || parsed.Header.Get("Expect") != "" || rest.Len()+buffered.Buffered() > 0) {
			return // the request has no end, or a body, or another request follows
		}
		at := 1 + int(cut)%(len(r)-1)
		for _, s := range []*server{b.lane, b.plain} {
			s.t = t
		}
		b.compare(t, 1, r[:at], r[at:])
		b.compare(t, 1, r)
	})
}
