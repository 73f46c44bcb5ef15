package consul_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ask sends a request through a real connection, and reads the answer.
func ask(b testing.TB, method, url string) {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := keeping.Do(request)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body) // a short answer shows in its status
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Error(url, resp.Status)
	}
}

var keeping = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}

// The native lookup of as many instances is BenchmarkHTTP/lookup/server of adapters/httpapi.
func BenchmarkHealthOf20Instances(b *testing.B) {
	r := start(b)
	for n := range 20 {
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"web-%d","Name":"web","Port":%d,"Tags":["v1"],"Meta":{"team":"shop"},"Check":{"TTL":"1h","Status":"passing"}}`, n, 8000+n))
	}
	for name, parameters := range map[string]string{"plain": "passing=1", "filtered": "passing=1&filter=Service.Meta.team==shop", "tagged": "passing=1&tag=v1"} {
		b.Run(name, func(b *testing.B) { r.askAll(b, "/v1/health/service/web?"+parameters) })
	}
}

// askAll asks the same again and again, over 32 connections for each processor.
func (r *rig) askAll(b *testing.B, path string) {
	_, address, _ := strings.Cut(r.URL, "//")
	question := "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\n\r\n"
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for p.Next() {
			_, _ = io.WriteString(conn, question) // a connection that broke gives no answer
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				b.Error(resp.Status, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// A thousand clients follow a service while others pass their checks. No pass wakes a client, so that passes are as quick as
// without them.
func BenchmarkPassesBesideBlockedQueries(b *testing.B) {
	for _, blocked := range []int{0, 1000} {
		b.Run(fmt.Sprint(blocked), func(b *testing.B) {
			r := start(b)
			for n := range 100 {
				r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"web-%d","Name":"web","Port":80,"Check":{"TTL":"1h","Status":"passing"}}`, n))
			}
			var entries []entry
			index := r.get("/v1/health/service/web", &entries)
			var woken sync.WaitGroup
			for range blocked {
				woken.Go(func() {
					ask(b, http.MethodGet, fmt.Sprintf("%s/v1/health/service/web?index=%d&wait=10m", r.URL, index))
				})
			}
			time.Sleep(time.Duration(blocked) * time.Millisecond / 2) // until they block
			var mu sync.Mutex
			var took []time.Duration
			n := 0
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				mu.Lock()
				n++
				url := fmt.Sprintf("%s/v1/agent/check/pass/service:web-%d", r.URL, n%100)
				mu.Unlock()
				var mine []time.Duration
				for p.Next() {
					began := time.Now()
					ask(b, http.MethodPut, url)
					mine = append(mine, time.Since(began))
				}
				mu.Lock()
				took = append(took, mine...)
				mu.Unlock()
			})
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			if now := r.get("/v1/health/service/web", &entries); now != index {
				b.Errorf("the index moved from %d to %d", index, now)
			}
			r.put("/v1/agent/service/register", `{"ID":"last","Name":"web","Port":80}`)
			woken.Wait()
		})
	}
}
