package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Registrations of many connections are carried out at once, and the event of each says whose it is, and by which request.
func TestRegistrationsOfManyConnectionsKeepTheirCallers(t *testing.T) {
	s := start(t)
	const clients, registrations = 32, 60
	ways := map[string]string{} // by the request's id
	var mu sync.Mutex
	var all sync.WaitGroup
	for c := range clients {
		w, via := s.dial(), []string{"cli", "http", "consul"}[c%3]
		all.Go(func() {
			for n := range registrations {
				body := fmt.Sprintf(`{"address":"10.0.%d.%d"}`, c, n+1)
				r := request("PUT", fmt.Sprint("/v1/services/s/instances/", c, "-", n/2), "Rollcall-Via: "+via, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body))) + body
				if _, err := w.Write([]byte(r)); err != nil {
					t.Error(err)
					return
				}
				resp, err := http.ReadResponse(w.r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if want := []int{201, 200}[n%2]; resp.StatusCode != want { // the second of each instance has another address
					t.Errorf("registration %d of client %d is answered %s", n, c, resp.Status)
				}
				mu.Lock()
				ways[resp.Header.Get("X-Request-Id")] = fmt.Sprint(via, " 10.0.", c, ".", n+1)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if runtime.GOOS == "linux" && s.api.Lane().Joined() == 0 {
		t.Error("no connection joined a loop")
	}
	events := 0
	for line := range strings.Lines(string(s.send("GET", "/v1/events", "").want(t, 200).body)) {
		var e struct {
			Data     struct{ Address string }
			Metadata struct {
				Via       string
				RequestID string `json:"request_id"`
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if got, want := e.Metadata.Via+" "+e.Data.Address, ways[e.Metadata.RequestID]; got != want {
			t.Errorf("request %s is recorded as %s, and was %s", e.Metadata.RequestID, got, want)
		}
		events++
	}
	if events != clients*registrations {
		t.Errorf("there are %d events", events)
	}
}
