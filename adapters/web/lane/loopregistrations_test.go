//go:build linux

package lane_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// register sends a registration, and reads its reply.
func (c *client) register(body string) (status int, reply string, err error) {
	if _, err := io.WriteString(c.Conn, request("PUT", "/v1/services/s/instances/"+c.id, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))+body); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		return 0, "", err
	}
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

// Many registrations join a loop as heartbeats do, and keep a connection in it, in whatever order the two come.
func TestRegistrationsAreCarriedOutInTheLoop(t *testing.T) {
	l := startLooping(t)
	var group sync.WaitGroup
	for i := range 20 {
		conn, reader := l.dial()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		c := &client{conn, reader, t, fmt.Sprint("i", i)}
		group.Go(func() {
			// A connection joins while many are under way, so all go on until the last one has joined, however the machine shares its time.
			for n := 0; n < 200 || n < 100_000 && l.lane.Members() < 20; n++ {
				if n > 100 && n%2 == 0 {
					c.say()
					c.hears(0)
					continue
				}
				body := fmt.Sprint(c.id, " ", n)
				status, got, err := c.register(body)
				if err != nil {
					t.Error(err)
					return
				}
				if n > 100 && (got != body || status != 201) {
					t.Errorf("answered %d %q, want 201 %q", status, got, body)
				}
			}
		})
	}
	group.Wait()
	if got := l.lane.Members(); got != 20 {
		t.Errorf("%d connections are in the loop", got)
	}
	if l.sent.Load() == 0 {
		t.Error("the loop carried out nothing")
	}
}

// Registrations that come alone are answered where they come: the loop would make them wait.
func TestARegistrationAloneJoinsNoLoop(t *testing.T) {
	l := startLooping(t)
	conn, reader := l.dial()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &client{conn, reader, t, "a"}
	for n := range 50 {
		if _, _, err := c.register(fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	if l.lane.Answered() < 40 || l.lane.Joined() != 0 {
		t.Errorf("the lane answered %d, and connections joined a loop %d times", l.lane.Answered(), l.lane.Joined())
	}
}
