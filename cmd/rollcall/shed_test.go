package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Under overload heartbeats wait and are then refused. That is silence which the registry makes, and ends no lease, be
// it shorter than the wait.
func TestHeartbeatsThatAreShedEndNoLease(t *testing.T) {
	s := settings{listen: "127.0.0.1:0", data: t.TempDir(), store: "embedded", retention: time.Hour, minFree: 1, heartbeatsAtOnce: 1, webhookPauseAfter: time.Hour, probeConcurrency: 1}
	ctx, stop := context.WithCancel(context.Background())
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, s, slog.New(slog.DiscardHandler), func(a net.Addr) { address <- a })
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var at string
	select {
	case a := <-address:
		at = a.String()
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	send := func(method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := transport.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	const instance = "/v1/services/web/instances/a"
	if status, b := send("PUT", instance, `{"address":"10.0.0.5","ttl":"1s"}`); status != 201 {
		t.Fatal(status, b)
	}
	// A batch whose long body does not come to its end holds the only turn for long bodies.
	long := strings.Repeat(" ", 70_000)
	busy, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := fmt.Fprintf(busy, "POST /v1/heartbeats HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n%s", at, long); err != nil {
		t.Fatal(err)
	}
	for refused, until := 0, time.Now().Add(10*time.Second); refused < 2; { // each waits for two ttls
		switch status, b := send("POST", "/v1/heartbeats", long+`["web/a"]`); {
		case status == 503 && strings.Contains(b, "overloaded"):
			refused++
		case status != 200 || refused > 0 || time.Now().After(until): // it may be quicker than the batch
			t.Fatal(status, b)
		}
	}
	if status, b := send("GET", instance, ""); status != 200 {
		t.Fatalf("the instance is gone while its heartbeats are refused: %d %s", status, b)
	}
	_ = busy.Close()
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		if status, b := send("PUT", instance+"/heartbeat", ""); status != 200 {
			t.Fatalf("after the overload: %d %s", status, b)
		}
	}
	if _, b := send("GET", "/v1/history?type=ListeningInterrupted", ""); !strings.Contains(b, `"cause":"overload"`) {
		t.Errorf("the history tells %s", b)
	}
	if _, b := send("GET", "/v1/status", ""); !strings.Contains(b, `"overload":"`) {
		t.Errorf("the status tells %s", b)
	}
	// Silence that is the instance's own ends the lease.
	time.Sleep(1500 * time.Millisecond)
	if status, b := send("GET", instance, ""); status != 410 {
		t.Errorf("after real silence: %d %s", status, b)
	}
}
