package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// parts are what a stream sends; one is larger than the buffers of net/http.
var parts = []string{"a", "bc", strings.Repeat("d", 20_000), "e\r\nf"}

// streaming is a server with two routes that send the parts, each by itself: /direct past net/http where that goes, /through
// through it. Each says in a header whether there is a way past net/http.
func streaming(t *testing.T, configure func(*httptest.Server)) *httptest.Server {
	e := echo.New()
	answer := func(direct bool) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set("Way", fmt.Sprint(ChunksOf(c) != nil))
			c.Response().WriteHeader(http.StatusOK)
			c.Response().Flush()
			chunks := ChunksOf(c)
			for _, part := range parts {
				if direct && chunks != nil {
					if _, err := chunks.Write(append(make([]byte, ChunkHead), part...)); err != nil {
						return err
					}
					continue
				}
				_, _ = c.Response().Write([]byte(part))
				c.Response().Flush()
			}
			if want := int64(len(strings.Join(parts, ""))); c.Response().Size != want {
				t.Errorf("the size of the reply is %d, not %d", c.Response().Size, want)
			}
			return nil
		}
	}
	Get(e, "/direct", answer(true), HeadersOnly)
	Get(e, "/through", answer(false))
	s := httptest.NewUnstartedServer(e)
	s.Config.ConnContext = ConnContext
	configure(s)
	t.Cleanup(s.Close)
	return s
}

func TestAStreamPastNetHTTPIsByteForByteItsOwn(t *testing.T) {
	s := streaming(t, (*httptest.Server).Start)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	var seen []string
	for _, path := range []string{"/through", "/direct", "/through"} { // the connection goes on after each
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, rawReply(t, r))
	}
	if seen[1] != seen[0] || seen[2] != seen[0] {
		t.Errorf("the replies differ: %.300q, %.300q, %.300q", seen[0], seen[1], seen[2])
	}
	if !strings.Contains(seen[0], "Way: true") {
		t.Errorf("there is no way past net/http: %.300q", seen[0])
	}
}

var date = regexp.MustCompile(`Date: [^\r]*\r\n`)

// rawReply is a chunked reply as it comes, but for its date and the bounds of its chunks: net/http cuts what passes its buffers.
func rawReply(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var size int
		if _, err := fmt.Sscanf(line, "%x\r\n", &size); err != nil || strings.HasPrefix(line, "0") && size > 0 {
			t.Fatalf("a chunk begins with %q: %v", line, err)
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(r, chunk); err != nil || string(chunk[size:]) != "\r\n" {
			t.Fatalf("a chunk of %d bytes ends with %q: %v", size, chunk[size:], err)
		}
		b.Write(chunk[:size])
		if size == 0 {
			return date.ReplaceAllString(b.String(), "")
		}
	}
}

func TestOtherRepliesGoThroughNetHTTP(t *testing.T) {
	plain := streaming(t, (*httptest.Server).Start)
	tls := streaming(t, (*httptest.Server).StartTLS)
	secure := streaming(t, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	for _, c := range []struct {
		name, method, url string
		client            *http.Client
		way, body         string
	}{
		{"HTTP/2", "GET", secure.URL, secure.Client(), "false", strings.Join(parts, "")},
		{"HEAD", "HEAD", plain.URL, plain.Client(), "false", ""},
		{"HTTP/1.1 over TLS", "GET", tls.URL, tls.Client(), "true", strings.Join(parts, "")},
		{"HTTP/1.1", "GET", plain.URL, plain.Client(), "true", strings.Join(parts, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			request, _ := http.NewRequest(c.method, c.url+"/direct", nil)
			resp, err := c.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != c.body || resp.Header.Get("Way") != c.way {
				t.Errorf("%d bytes, %v, a way past net/http: %s", len(body), err, resp.Header.Get("Way"))
			}
		})
	}
	t.Run("HTTP/1.0", func(t *testing.T) {
		conn, err := net.Dial("tcp", plain.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /direct HTTP/1.0\r\n\r\n")
		all, err := io.ReadAll(conn)
		if _, body, _ := strings.Cut(string(all), "\r\n\r\n"); err != nil || body != strings.Join(parts, "") {
			t.Errorf("%v, %.200q", err, body)
		}
	})
}

func TestAFailedChunkEndsTheConnection(t *testing.T) {
	here, there := net.Pipe()
	_ = there.Close()
	c := echo.New().NewContext(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder())
	w := &Chunks{c: c, conn: here}
	if _, err := w.Write(append(make([]byte, ChunkHead), 'x')); err == nil {
		t.Fatal("a chunk was written to a closed connection")
	}
	if _, err := here.Read(make([]byte, 1)); err != io.ErrClosedPipe {
		t.Errorf("the connection is open: %v", err)
	}
	if c.Response().Size != 0 {
		t.Errorf("%d bytes count as sent", c.Response().Size)
	}
}
