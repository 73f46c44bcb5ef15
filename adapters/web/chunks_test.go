package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
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
			way := ChunksOf(c)
			c.Response().Header().Set("Way", fmt.Sprint(way != nil))
			c.Response().Header().Set("Direct", fmt.Sprint(way != nil && way.Direct()))
			c.Response().WriteHeader(http.StatusOK)
			c.Response().Flush()
			chunks := ChunksOf(c)
			for _, part := range parts {
				if direct && chunks != nil {
					if err := chunks.Write(SealChunk(append(make([]byte, ChunkHead), part...))); err != nil {
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
		way, direct, body string
	}{
		{"HTTP/2", "GET", secure.URL, secure.Client(), "false", "false", strings.Join(parts, "")},
		{"HEAD", "HEAD", plain.URL, plain.Client(), "false", "false", ""},
		{"HTTP/1.1 over TLS", "GET", tls.URL, tls.Client(), "true", "false", strings.Join(parts, "")},
		{"HTTP/1.1", "GET", plain.URL, plain.Client(), "true", fmt.Sprint(runtime.GOOS != "windows"), strings.Join(parts, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			request, _ := http.NewRequest(c.method, c.url+"/direct", nil)
			resp, err := c.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != c.body || resp.Header.Get("Way") != c.way || resp.Header.Get("Direct") != c.direct {
				t.Errorf("%d bytes, %v, a way past net/http: %s, without waiting: %s", len(body), err, resp.Header.Get("Way"), resp.Header.Get("Direct"))
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

// What a client does not take at once is left, and comes before what is written next.
func TestAChunkThatTheClientDoesNotTakeIsLeft(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no way to write without waiting")
	}
	e := echo.New()
	full := make(chan struct{}) // closed when the client has not taken a chunk
	const size = 30_000
	tried := 0
	Get(e, "/", func(c echo.Context) error {
		c.Response().WriteHeader(http.StatusOK)
		c.Response().Flush()
		chunks := ChunksOf(c)
		if !chunks.Direct() {
			t.Error("there is no way to write without waiting")
			return nil
		}
		shared := SealChunk(append(make([]byte, ChunkHead), strings.Repeat("a", size)...))
		for tried++; chunks.Try(shared); tried++ {
			if chunks.Left() {
				t.Error("a chunk was written, and something is left")
			}
		}
		close(full)
		if chunks.Direct() || !chunks.Left() {
			t.Error("nothing is left of a chunk that was not written")
		}
		if err := chunks.SendRest(); err != nil {
			return err
		}
		if want := int64(tried * size); c.Response().Size != want || !chunks.Direct() {
			t.Errorf("%d bytes count as sent, want %d", c.Response().Size, want)
		}
		return chunks.Write(SealChunk(append(make([]byte, ChunkHead), "end"...)))
	}, HeadersOnly)
	s := httptest.NewUnstartedServer(e)
	s.Config.ConnContext = ConnContext
	s.Start()
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-full
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != strings.Repeat("a", tried*size)+"end" {
		t.Errorf("%d chunks of %d bytes came as %d bytes, which end with %q: %v", tried, size, len(body), body[max(0, len(body)-10):], err)
	}
}

func TestAFailedChunkEndsTheConnection(t *testing.T) {
	here, there := net.Pipe()
	_ = there.Close()
	c := echo.New().NewContext(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder())
	w := &Chunks{c: c, response: c.Response(), conn: here}
	if err := w.Write(SealChunk(append(make([]byte, ChunkHead), 'x'))); err == nil {
		t.Fatal("a chunk was written to a closed connection")
	}
	if _, err := here.Read(make([]byte, 1)); err != io.ErrClosedPipe {
		t.Errorf("the connection is open: %v", err)
	}
	if c.Response().Size != 0 {
		t.Errorf("%d bytes count as sent", c.Response().Size)
	}
}
