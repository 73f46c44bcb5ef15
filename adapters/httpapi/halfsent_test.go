package httpapi_test

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A client that goes away in the middle of its body has registered nothing.
func TestAHalfSentBodyWritesNothing(t *testing.T) {
	s := start(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// What arrives is a whole JSON document, but the client promised more.
	if _, err := conn.Write([]byte("PUT " + a1 + " HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + `{"address":"10.0.0.5"}`)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %s", resp.Status)
	}
	s.send("GET", a1, "").problem(t, 404, "unknown-instance", "")
}
