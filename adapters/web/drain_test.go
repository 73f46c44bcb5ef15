package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// refusing is a server that answers every request with 413. It reads some bytes of a body, and no more.
func refusing(t *testing.T, reads int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := web.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reads > 0 {
			_, _ = io.ReadAll(http.MaxBytesReader(w, r.Body, reads))
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "too large")
	}), nil, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Shutdown(context.Background()); <-done })
	return l.Addr().String()
}

// A client that sends its whole body before it reads the answer gets the answer, also where the handler has not read the body.
func TestAClientThatSendsTooMuchReadsWhy(t *testing.T) {
	for _, reads := range []int64{0, 1, 1 << 20} {
		address := refusing(t, reads)
		const size = 12 << 20
		for name, head := range map[string]string{"of a known length": fmt.Sprintf("Content-Length: %d", size), "in chunks": "Transfer-Encoding: chunked"} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			body := strings.Repeat("x", size)
			if strings.HasPrefix(head, "Transfer") {
				body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
			}
			if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n"+head+"\r\n\r\n"+body); err != nil {
				t.Errorf("a body %s, of which %d bytes are read: the client cannot send it: %v", name, reads, err)
				continue
			}
			reply, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || reply.StatusCode != 413 {
				t.Errorf("a body %s, of which %d bytes are read, is answered with %v, %v", name, reads, reply, err)
			}
		}
	}
}

// A client that asks before it sends its body gets the answer without sending it.
func TestAClientThatAsksFirstNeedNotSendItsBody(t *testing.T) {
	c, err := net.Dial("tcp", refusing(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "413") {
		t.Errorf("it is answered with %q, %v", line, err)
	}
}
