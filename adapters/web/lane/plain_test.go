package lane_test

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

func request(method, path string, header ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(header, ""), "\r\n") + "\r\n"
}

// readWhole reads a request as the HTTP server does. Its bytes must be exactly one request, on a connection that goes on.
func readWhole(t *testing.T, raw []byte) (r *http.Request, body []byte) {
	t.Helper()
	rest := bytes.NewReader(raw)
	buffered := bufio.NewReader(rest)
	r, err := http.ReadRequest(buffered)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	body, err = io.ReadAll(r.Body)
	if err != nil || r.ContentLength != int64(len(body)) || r.Close || len(r.TransferEncoding) > 0 || rest.Len()+buffered.Buffered() > 0 {
		t.Fatalf("%q is %+v, %v", raw, r, err)
	}
	return r, body
}

const (
	beatA1 = "/v1/services/checkout/instances/a-1/heartbeat"
	lookup = "/v1/services/checkout/instances"
)

// Whatever the lane takes for a plain request, the HTTP server takes for the same.
func FuzzPlainRequests(f *testing.F) {
	for _, seed := range []string{
		request("PUT", beatA1), request("PUT", beatA1, "Content-Length: 0", "Accept: */*"), request("PUT", beatA1, "content-length:  0 "),
		request("PUT", beatA1, "Transfer-Encoding: chunked"), "PUT /v1/services/a/instances/b/instances/c/heartbeat HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		request("GET", lookup), request("GET", lookup+"?ready=true"), request("GET", lookup+"?ns=shop&ready=true"), request("PUT", beatA1+"?ns=shop"), request("GET", lookup, `If-None-Match: "a", W/"b"`),
		request("PUT", "/v1/services/a/instances/b", "Content-Length: 2", "Content-Type: application/json") + "{}",
		request("PUT", "/v1/services/a/instances/heartbeat", "Content-Length: 3") + "{} ",
		request("GET", lookup+"/a-1/history"), request("GET", lookup+"/a-1/history?limit=10", `If-None-Match: "a"`), request("GET", lookup+"/a/instances/b/history?limit=0"),
		request("POST", "/v1/heartbeats", "Content-Length: 7", "content-type:application/JSON") + `["a/b"]`,
		request("POST", "/v1/heartbeats?owner=agent%3Ahost-1", "Content-Length: 7", "Prefer: return=minimal", "Rollcall-Via: cli") + `["a/b"]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		plain, ok := lane.ReadPlain(raw)
		if !ok {
			return
		}
		r, body := readWhole(t, raw)
		if !bytes.Equal(body, plain.Body) {
			t.Fatalf("%q has the body %q, not %q", raw, body, plain.Body)
		}
		ofService := "/v1/services/" + string(plain.Service) + "/instances"
		want := map[lane.Kind]string{
			lane.Lookup: "GET " + ofService, lane.Heartbeat: "PUT " + ofService + "/" + string(plain.ID) + "/heartbeat",
			lane.History:      "GET " + ofService + "/" + string(plain.ID) + "/history",
			lane.Registration: "PUT " + ofService + "/" + string(plain.ID), lane.Heartbeats: "POST /v1/heartbeats",
		}[plain.Kind]
		query := url.Values{}
		if plain.Namespace != nil {
			query.Set("ns", string(plain.Namespace))
		}
		if plain.Ready {
			query.Set("ready", "true")
		}
		if plain.Limit != nil {
			query.Set("limit", string(plain.Limit))
			if n, err := strconv.Atoi(string(plain.Limit)); err != nil || n < 1 || n > 999 {
				t.Fatalf("%q has the limit %q", raw, plain.Limit)
			}
		}
		if plain.Owner != nil {
			owner, err := url.QueryUnescape(string(plain.Owner))
			if err != nil {
				return // the Face leaves it to the server
			}
			query.Set("owner", owner)
		}
		got, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || !maps.EqualFunc(got, query, slices.Equal) || plain.Ready && plain.Kind != lane.Lookup || plain.Limit != nil && plain.Kind != lane.History || plain.Owner != nil && plain.Kind != lane.Heartbeats {
			t.Fatalf("%q has the query %v, not %v, %v", raw, got, query, err)
		}
		if via := r.Header.Values("Rollcall-Via"); len(via) > 1 || r.Header.Get("Rollcall-Via") != string(plain.Via) {
			t.Fatalf("%q came by %q, not %q", raw, via, plain.Via)
		}
		if prefer := r.Header.Get("Prefer"); plain.Minimal != strings.EqualFold(prefer, "return=minimal") || !plain.Minimal && prefer != "" {
			t.Fatalf("%q prefers %q", raw, prefer)
		}
		if r.Method+" "+r.URL.Path != want || strings.Contains(string(plain.Service)+string(plain.ID), "/") || r.Header.Get("If-None-Match") != string(plain.Match) {
			t.Fatalf("%q is %s, %q", raw, want, plain.Match)
		}
		switch hasBody := plain.Kind == lane.Registration || plain.Kind == lane.Heartbeats; {
		case hasBody != (len(body) > 0):
			t.Fatalf("%q has the body %q", raw, body)
		case hasBody && len(r.Header["Content-Type"]) > 0 && (len(r.Header["Content-Type"]) > 1 || !strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/json")):
			t.Fatalf("%q has the types %q", raw, r.Header["Content-Type"])
		}
	})
}

// BenchmarkPlainRequest is the lane's reading of a request.
func BenchmarkPlainRequest(b *testing.B) {
	raw := []byte(request("PUT", beatA1, "User-Agent: Go-http-client/1.1", "Content-Length: 0", "Accept-Encoding: gzip"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := lane.ReadPlain(raw); !ok {
			b.Fatal("not taken")
		}
	}
}
