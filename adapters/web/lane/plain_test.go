package lane_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

func request(method, path string, header ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(header, ""), "\r\n") + "\r\n"
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
		request("GET", lookup), request("GET", lookup, `If-None-Match: "a", W/"b"`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		service, id, match, ok := lane.ReadPlain(raw)
		if !ok {
			return
		}
		rest := bytes.NewReader(raw)
		buffered := bufio.NewReader(rest)
		r, err := http.ReadRequest(buffered)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) > 0 || r.ContentLength != 0 || r.Close || len(r.TransferEncoding) > 0 || rest.Len()+buffered.Buffered() > 0 {
			t.Fatalf("%q is %+v", raw, r)
		}
		method, want := "GET", "/v1/services/"+string(service)+"/instances"
		if id != nil {
			method, want = "PUT", want+"/"+string(id)+"/heartbeat"
		}
		if r.Method != method || r.URL.Path != want || r.URL.RawQuery != "" || strings.Contains(string(service)+string(id), "/") || r.Header.Get("If-None-Match") != string(match) {
			t.Fatalf("%q is %s %s, %q", raw, method, want, match)
		}
	})
}

// BenchmarkPlainRequest is the lane's reading of a request.
func BenchmarkPlainRequest(b *testing.B) {
	raw := []byte(request("PUT", beatA1, "User-Agent: Go-http-client/1.1", "Content-Length: 0", "Accept-Encoding: gzip"))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok := lane.ReadPlain(raw); !ok {
			b.Fatal("not taken")
		}
	}
}
