package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkOverload loads a real server with heartbeats, lookups and registrations (90/9/1) from 256
// connections, and from three times as many. Under three times the load throughput must hold, what is
// refused must say so, and no instance may be expired.
func BenchmarkOverload(b *testing.B) {
	for _, connections := range []int{256, 768} {
		b.Run(fmt.Sprint("connections=", connections), func(b *testing.B) {
			p := startServer(b, b.TempDir())
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
			send := func(method, path, body string) int {
				r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return 0
				}
				resp, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return 0
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			const fleet = 2000
			for i := range fleet {
				send("PUT", fmt.Sprintf("/v1/services/s%d/instances/i%d", i%100, i), `{"address":"10.0.0.5","ttl":"5s"}`)
			}
			var done, refused atomic.Int64
			for b.Loop() {
				var group sync.WaitGroup
				end := time.Now().Add(8 * time.Second)
				for c := range connections {
					group.Go(func() {
						for n := c * fleet / connections; time.Now().Before(end); n++ {
							i := n % fleet
							path := fmt.Sprintf("/v1/services/s%d/instances/i%d", i%100, i)
							var status int
							switch kind := rand.IntN(100); {
							case kind == 0:
								status = send("PUT", path, `{"address":"10.0.0.5","ttl":"5s"}`)
							case kind < 10:
								status = send("GET", fmt.Sprintf("/v1/services/s%d/instances", i%100), "")
							default:
								status = send("PUT", path+"/heartbeat", "")
							}
							if status == 503 {
								refused.Add(1)
							} else {
								done.Add(1)
							}
						}
					})
				}
				group.Wait()
			}
			_, metrics, err := p.send("GET", "/metrics", "")
			if err != nil {
				b.Fatal(err)
			}
			expired := regexp.MustCompile(`rollcall_commands_total\{command="ExpireLease",result="ok"\} (\d+)`).FindSubmatch(metrics)
			b.ReportMetric(float64(done.Load())/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(refused.Load()), "refused")
			b.Logf("%d connections: %s instances expired", connections, expired[1])
		})
	}
}
