package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// talkative is a server that sends, behind each answer, another one for which nobody asked. answered counts its answers.
func talkative(t *testing.T, body string) (url string, answered *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	answered = &atomic.Int32{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; answered.Add(1) {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRollcall-Position: 3\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					_, _ = io.WriteString(c, "HTTP/1.1 500 Evil\r\n\r\n")
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), answered
}

// What a library writes to the log of the process is no raw line among those of the program.
func TestAnAnswerForWhichNobodyAskedIsNotPrinted(t *testing.T) {
	t.Parallel()
	several := func(what string, answered *atomic.Int32, until func() bool) {
		t.Helper()
		for began := time.Now(); answered.Load() < 4 || !until(); time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("%s: %d answers", what, answered.Load())
			}
		}
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	url, answered := talkative(t, `{"namespace":"default","service":"web","id":"a","epoch":1,"revision":0,"position":"3"}`)
	said := &lockedBuffer{}
	c := exec.Command(path, "heartbeat", "web/a", "--every", "100ms", "--url", url)
	c.Stderr = said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	several("the command line", answered, func() bool { return true })
	_ = c.Process.Kill()
	_ = c.Wait()
	if said.String() != "" {
		t.Errorf("the command line says %q", said)
	}

	url, answered = talkative(t, "ok")
	p := startServer(t, t.TempDir(), "--log-level", "debug", "--log-format", "json")
	if status, b, err := p.send("PUT", "/v1/services/web/instances/a", `{"address":"127.0.0.1","checks":[{"id":"it","kind":"http","url":"`+url+`","interval":"1s"}]}`); err != nil || status != 201 {
		t.Fatal(status, err, string(b))
	}
	several("the server", answered, func() bool { return strings.Contains(p.logs.String(), "Unsolicited") })
	for line := range strings.Lines(p.logs.String()) {
		if strings.Contains(line, "Unsolicited") && !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("the server logs %s", line)
		}
	}
}
