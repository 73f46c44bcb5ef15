package httpapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
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
