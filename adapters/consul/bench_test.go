package consul_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
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
