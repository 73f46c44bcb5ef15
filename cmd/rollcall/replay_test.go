package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// impatient is a registry of five events, a minute apart, that sends three of them on each request and
// then cuts the transfer, as a registry does whose reader is slow.
type impatient struct{ asked []string }

func (r *impatient) RoundTrip(request *http.Request) (*http.Response, error) {
	from := request.URL.Query().Get("from")
	r.asked = append(r.asked, from)
	first := 1
	if from != "" {
		if _, err := fmt.Sscan(from, &first); err != nil {
			return nil, err
		}
	}
	body, w := io.Pipe()
	go func() {
		for i := first; i <= 5; i++ {
			if i > first+2 {
				w.CloseWithError(io.ErrUnexpectedEOF)
				return
			}
			_, _ = fmt.Fprintf(w, `{"position":"%d","stream":"instance-default/web/i%d","revision":0,"recorded_at":"2026-03-01T03:%02d:00Z","type":"InstanceDeregistered","data":{"epoch":1},"metadata":{}}`+"\n", i, i, i)
		}
		_ = w.Close()
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Rollcall-Position": {"9"}}, Body: body, Request: request}, nil
}

func TestAReplayAtItsOwnPaceGoesOnWhereItWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := &impatient{}
		c, err := client.New("http://registry", client.Options{Transport: registry})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		began := time.Now()
		p := &player{remote: &commandLine{}, out: &out, speed: 1, live: map[string]bool{}}
		if err := p.playAll(t.Context(), c, client.EventQuery{}); err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 5; i++ {
			if n := strings.Count(out.String(), fmt.Sprintf("default/web/i%d ", i)); n != 1 {
				t.Errorf("event %d is played %d times", i, n)
			}
		}
		if took := time.Since(began); took != 4*time.Minute {
			t.Errorf("it takes %v, want 4m", took)
		}
		if fmt.Sprint(registry.asked) != "[ 3]" {
			t.Errorf("it asked from %q on", registry.asked)
		}
		fast := &player{remote: &commandLine{}, out: io.Discard, live: map[string]bool{}}
		var broken *client.Broken
		if err := fast.playAll(t.Context(), c, client.EventQuery{}); !errors.As(err, &broken) || broken.After != 3 {
			t.Errorf("a break that the player is not to blame for: %v", err)
		}
	})
}
