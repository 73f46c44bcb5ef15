package httpapi_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
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

// Clients that begin bodies and do not go on keep nobody from being answered.
func TestHalfSentBodiesHoldNobodyUp(t *testing.T) {
	s := start(t)
	const reverts = 8 // as many as there are turns for these and for reads of the history
	for range reverts {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("POST /v1/reverts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\nExpect: 100-continue\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n') // the server reads the body
		if err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if reply := s.send("GET", "/v1/history", ""); reply.StatusCode != http.StatusOK {
		t.Errorf("the history answers %s", reply.Status)
	}
}

// The body of a request with a key is read by the same rules as others: behind the first 64 KiB in a turn for long bodies.
func TestALongBodyWithAKeyNeedsATurn(t *testing.T) {
	s := start(t)
	s.api.HoldLongBodies()
	gone, leave := context.WithCancel(t.Context())
	leave() // the request waits for no turn
	for _, path := range []string{"/v1/webhooks", "/v1/reverts"} {
		body := strings.NewReader(strings.Repeat(" ", 100<<10))
		r := httptest.NewRequestWithContext(gone, "POST", path, body)
		r.Header.Set("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324")
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		if read := 100<<10 - body.Len(); w.Code != http.StatusServiceUnavailable || read != 64<<10 {
			t.Errorf("POST %s answers %d %s, and %d bytes were read", path, w.Code, w.Body, read)
		}
	}
}
