package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// crowdEnv is the environment variable that makes the test binary a crowd: clients that wait for a change of a service with
// long polls. Its value is the crowd as JSON.
const crowdEnv = "ROLLCALL_TEST_CROWD"

// crowd is a crowd of clients in a process of its own. In truth these clients are on other machines: their process has the
// lowest priority, so that what they take of this machine's processors is not taken for the server's.
type crowd struct {
	URL     string   // of the service's instances
	Index   string   // the position after which a change ends the polls
	Filters []string // of the clients, each a query
}

// crowdAnswers is what a crowd got.
type crowdAnswers struct {
	Statuses map[int]int // how many replies, by status
	Bytes    int
	Failed   []string
}

// polls waits with long polls for a change, again and again, and says how long the slowest round of answers took.
func polls(t *testing.T, p *process, clients int, filter func(i int) string) string {
	t.Helper()
	slowest, statuses, bytes := time.Duration(0), map[int]int{}, 0
	for round := range 5 {
		_, reply, err := p.send("GET", "/v1/services/fleet", "")
		var service struct{ Position string }
		if err != nil || json.Unmarshal(reply, &service) != nil {
			t.Fatalf("%s %v", reply, err)
		}
		c := crowd{URL: p.url + "/v1/services/fleet/instances", Index: service.Position}
		for i := range clients {
			c.Filters = append(c.Filters, filter(i))
		}
		took, answers := c.poll(t, func() {
			if status, reply, err := p.send("DELETE", fmt.Sprint("/v1/services/fleet/instances/i1000", round), ""); err != nil || status != 200 {
				t.Errorf("%d %s %v", status, reply, err)
			}
		})
		slowest, bytes = max(slowest, took), bytes+answers.Bytes
		for status, n := range answers.Statuses {
			statuses[status] += n
		}
		for _, failed := range answers.Failed {
			t.Error(failed)
		}
	}
	return fmt.Sprintf("all answered within %.1f s: %v, %d MB", slowest.Seconds(), statuses, bytes>>20)
}

// poll sends the crowd's polls, makes the change, and says how long the answers took.
func (c crowd) poll(t *testing.T, change func()) (took time.Duration, answers crowdAnswers) {
	t.Helper()
	as, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), crowdEnv+"="+string(as))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // until all of them wait
	began := time.Now()
	change()
	err = json.NewDecoder(out).Decode(&answers)
	took = time.Since(began)
	if ended := cmd.Wait(); err != nil || ended != nil {
		t.Fatal(err, ended)
	}
	return took, answers
}

// serveCrowd is the crowd's process.
func serveCrowd(value string) error {
	var c crowd
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		return err
	}
	answers := crowdAnswers{Statuses: map[int]int{}}
	var mu sync.Mutex
	var polling sync.WaitGroup
	for _, filter := range c.Filters {
		polling.Go(func() {
			status, n := 0, int64(0)
			resp, err := http.Get(c.URL + "?wait=1m&index=" + c.Index + "&" + filter)
			if err == nil {
				n, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				status = resp.StatusCode
			}
			mu.Lock()
			defer mu.Unlock()
			answers.Statuses[status]++
			answers.Bytes += int(n)
			if err != nil {
				answers.Failed = append(answers.Failed, err.Error())
			}
		})
	}
	polling.Wait()
	return json.NewEncoder(os.Stdout).Encode(answers)
}
