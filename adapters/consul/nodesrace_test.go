package consul_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// Those who follow a service see what becomes of its node in the end, however many changes come at once, and no index falls.
func TestWhoFollowsAServiceSeesWhatBecomesOfItsNode(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	following, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	var watching sync.WaitGroup
	for range 4 {
		watching.Go(func() {
			for index := uint64(0); ; {
				answered, last, err := nodeOutput(following, fmt.Sprintf("%s/v1/health/service/web?wait=10m&index=%d", r.URL, index))
				if err != nil {
					t.Errorf("the end was not seen: %v", err)
					return
				}
				if answered < index {
					t.Errorf("the index fell from %d to %d", index, answered)
				}
				if index = answered; last == "the end" {
					return
				}
			}
		})
	}
	node := domain.Key{Namespace: "default", Service: "consul-node", ID: "ip-127-0-0-1"}
	var changing sync.WaitGroup
	for n := range 3 {
		changing.Go(func() {
			for i := range 20 {
				switch {
				case n == 0:
					r.put("/v1/agent/check/register", fmt.Sprintf(`{"Name":"disk","TTL":"1h","Status":"%s"}`, []string{"passing", "critical"}[i%2]))
				case n == 1:
					r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"w%d","Name":"web","Port":%d}`, i%3, 100+i))
				case i%5 == 0:
					r.commands.Do(t.Context(), commands.Caller{Actor: "test"}, commands.Request{Command: domain.DeregisterInstance{Key: node}}) // or it is not there
				default:
					r.put("/v1/catalog/register", `{"Node":"ip-127-0-0-1","Address":"127.0.0.1","Check":{"CheckID":"host","Status":"warning","Output":"`+strconv.Itoa(i)+`"}}`)
				}
			}
		})
	}
	changing.Wait()
	r.put("/v1/catalog/register", `{"Node":"ip-127-0-0-1","Address":"127.0.0.1","Check":{"CheckID":"host","Status":"critical","Output":"the end"}}`)
	watching.Wait()
}

// nodeOutput gives the index of an answer, and the output of the node's check in it.
func nodeOutput(ctx context.Context, url string) (index uint64, output string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var entries []entry
	if err := json.Unmarshal(read, &entries); err != nil {
		return 0, "", err
	}
	for _, e := range entries {
		for _, c := range e.Checks {
			if c.CheckID == "host" {
				output = c.Output
			}
		}
	}
	index, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	return index, output, err
}

// Of instances that register while their node is put into maintenance, none stays in traffic.
func TestWhatRegistersMeanwhileFollowsItsNode(t *testing.T) {
	r := start(t)
	var registering sync.WaitGroup
	for n := range 4 {
		registering.Go(func() {
			for i := range 10 {
				r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"w%d-%d","Name":"web","Port":80}`, n, i))
			}
		})
	}
	r.put("/v1/agent/maintenance?enable=true", "")
	registering.Wait()
	all := 0
	for entry := range r.live.Catalog().All {
		if all++; entry.Traffic() != domain.Maintenance {
			t.Errorf("%s is %s", entry.Key(), entry.Traffic())
		}
	}
	if all != 41 {
		t.Errorf("there are %d instances, want 40 and the node", all)
	}
	r.put("/v1/agent/maintenance?enable=false", "")
	for entry := range r.live.Catalog().All {
		if entry.Traffic() != domain.Serving {
			t.Errorf("afterwards %s is %s", entry.Key(), entry.Traffic())
		}
	}
}
