package main

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A server that is told to end does so in time and with exit code 0, whatever clients and targets do: readers of large
// replies and streams who never read, a webhook's target that never answers, and a broker that is not there.
func TestAStopTakesLittleTimeAndSucceeds(t *testing.T) {
	tarpit, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer tarpit.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	p := startServer(t, t.TempDir(), "--webhook-allow-private", "--publish", "nats://"+gone.Addr().String()+"/events", "--publish", "redis://"+gone.Addr().String()+"/events")
	var items []string
	for i := range 2000 {
		items = append(items, fmt.Sprintf(`{"type":"RegisterInstance","service":"fleet","id":"i%d","address":"10.0.0.5","ttl":"1h","metadata":{"note":%q}}`, i, strings.Repeat("x", 500)))
	}
	if status, reply, err := p.send("POST", "/v1/webhooks", fmt.Sprintf(`{"url":"http://%s/x"}`, tarpit.Addr())); err != nil || status != 201 {
		t.Fatalf("%d %s %v", status, reply, err)
	}
	if status, reply, err := p.send("POST", "/v1/commands", "["+strings.Join(items, ",")+"]"); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, reply, err)
	}
	for _, path := range []string{"/v1/services/fleet/instances", "/v1/catalog", "/v1/streams/catalog", "/v1/events"} {
		unread(t, p, 2, path)
	}
	time.Sleep(500 * time.Millisecond) // the replies have begun
	began := time.Now()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it took %s", took)
	} else {
		t.Log(took)
	}
	if !strings.Contains(p.logs.String(), "clients that do not read their replies are cut off") {
		t.Errorf("the log says\n%s", p.logs)
	}
}
