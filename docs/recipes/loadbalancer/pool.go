// Command loadbalancer keeps a pool of the instances that may get traffic:
//
//	go run ./docs/recipes/loadbalancer http://127.0.0.1:7700 checkout
//
// It prints the pool whenever it changes.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/tmaxmax/go-sse"
)

type instance struct{ ID, Address string }

var (
	pool = map[string]string{} // address by id
	last string
)

func take(e sse.Event) error {
	var said struct {
		Instances []instance // of a snapshot or reset: all of them
		Op, ID    string     // of a change
		Instance  instance
	}
	if err := json.Unmarshal([]byte(e.Data), &said); err != nil || e.Type == "cut" {
		return err // a stream that is cut is resumed
	}
	if e.Type != "change" {
		pool = map[string]string{}
	}
	for _, i := range said.Instances {
		pool[i.ID] = i.Address
	}
	if delete(pool, said.ID); said.Op == "put" {
		pool[said.ID] = said.Instance.Address
	}
	last = e.LastEventID
	fmt.Print("pool: ")
	for _, id := range slices.Sorted(maps.Keys(pool)) {
		fmt.Print(id, " ", pool[id], ",")
	}
	fmt.Println()
	return nil
}

func follow(url string) error {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: 64 << 20}) {
		if err != nil {
			return err
		}
		if err := take(e); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	for {
		if err := follow(os.Args[1] + "/v1/streams/services/" + os.Args[2] + "?ready=true"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		time.Sleep(200 * time.Millisecond) // the server is away: go on where we were
	}
}
