package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// fleet registers instances of the service checkout.
func (s *server) fleet(n int) {
	s.t.Helper()
	var items []json.RawMessage
	for i := range n {
		items = append(items, json.RawMessage(fmt.Sprintf(`{"type":"RegisterInstance","service":"checkout","id":"i%d","address":"10.0.0.5","ports":{"http":8080},"zone":"eu-1a"}`, i)))
	}
	body, err := json.Marshal(items)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send("POST", "/v1/commands", string(body)).want(s.t, 200)
}

// blast sends a request again and again from many connections: what the server takes for it, with a client
// on the same processors.
func blast(b *testing.B, s *server, connections int, request string) {
	before := s.api.Lane().Answered()
	b.SetParallelism(connections)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		w := s.dial()
		r := bufio.NewReader(w)
		for pb.Next() {
			w.say(request)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode >= 400 {
				b.Errorf("%s, %v", resp.Status, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(s.api.Lane().Answered()-before)/float64(b.N), "in-lane/op")
}

// BenchmarkHTTP is of whole requests; `rollcall bench` has the machine's floor beside them.
func BenchmarkHTTP(b *testing.B) {
	s := start(b)
	s.fleet(20)
	const beat = lookup + "/i7/heartbeat"
	b.Run("heartbeat/lane", func(b *testing.B) { blast(b, s, 32, request("PUT", beat)) })
	b.Run("heartbeat/server", func(b *testing.B) { blast(b, s, 32, request("PUT", beat, "X-Request-Id: 1")) })
	b.Run("lookup/lane", func(b *testing.B) { blast(b, s, 32, request("GET", lookup)) })
	b.Run("lookup/server", func(b *testing.B) { blast(b, s, 32, request("GET", lookup, "X-Request-Id: 1")) })
}

// BenchmarkHeartbeatBatch is of batches of 1,000.
func BenchmarkHeartbeatBatch(b *testing.B) {
	s := start(b)
	s.fleet(1000)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprint("checkout/i", i))
	}
	body, err := json.Marshal(names)
	if err != nil {
		b.Fatal(err)
	}
	blast(b, s, 8, request("POST", "/v1/heartbeats", "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))+string(body))
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "heartbeats/s")
}

// BenchmarkPassBatch is of batches of 1,000 reports of ttl checks that change nothing, beside BenchmarkHeartbeatBatch.
func BenchmarkPassBatch(b *testing.B) {
	var service *commands.Service
	s := startConfigured(b, pebblestore.Options{}, func(c *httpapi.Config) { service = c.Commands })
	var items []map[string]string
	for _, key := range probed(b, service, 1000) {
		items = append(items, map[string]string{"service": key.Service, "id": key.ID, "check": "worker"})
	}
	body, err := json.Marshal(items)
	if err != nil {
		b.Fatal(err)
	}
	blast(b, s, 8, request("POST", "/v1/check-reports", "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))+string(body))
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "passes/s")
}

// BenchmarkAccess is of heartbeats in the lane without and with a token, and without and with limits, over TCP and TLS, beside a
// bare handler.
func BenchmarkAccess(b *testing.B) {
	limits := func(c *httpapi.Config) {
		c.Limits = web.NewLimits(map[web.Limit]float64{web.Requests: 1e9, web.Heartbeats: 1e9, web.Bytes: 1e12}, nil, time.Now)
	}
	const beat = lookup + "/i7/heartbeat"
	for _, secure := range []bool{false, true} {
		name := "TCP"
		var config *tls.Config
		if secure {
			name, config = "TLS", certificate(b)
		}
		over := func(s *server) *server {
			if secure {
				s.URL = "https://" + s.listen(config, nil)
			}
			return s
		}
		b.Run(name+"/bare", func(b *testing.B) {
			s := start(b)
			bare := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
			if s.URL = "https://" + bare.Listener.Addr().String(); secure {
				bare.TLS = &tls.Config{Certificates: config.Certificates, NextProtos: []string{"http/1.1"}}
				bare.StartTLS()
			} else {
				bare.Start()
				s.URL = bare.URL
			}
			defer bare.Close()
			blast(b, s, 32, request("PUT", beat))
		})
		b.Run(name+"/open", func(b *testing.B) {
			s := start(b)
			s.fleet(20)
			blast(b, over(s), 32, request("PUT", beat))
		})
		b.Run(name+"/limits", func(b *testing.B) {
			s := startConfigured(b, pebblestore.Options{}, limits)
			s.fleet(20)
			blast(b, over(s), 32, request("PUT", beat))
		})
		b.Run(name+"/token", func(b *testing.B) {
			g := startGuarded(b)
			header := g.token("fleet", domain.TokenSpec{Roles: []string{"operator"}})
			for i := range 20 {
				g.send("PUT", fmt.Sprintf("%s/i%d", lookup, i), `{"address":"10.0.0.5"}`, header...).want(b, 201)
			}
			over(g.server)
			blast(b, g.server, 32, request("PUT", beat, header[0]+": "+header[1]))
		})
	}
}
