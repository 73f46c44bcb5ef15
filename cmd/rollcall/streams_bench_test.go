package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// subscribeRaw opens a stream over a connection of its own and returns it with what was read ahead.
func subscribeRaw(b *testing.B, address, path string) (net.Conn, *bufio.Reader) {
	b.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReaderSize(c, 4096)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		b.Fatal(line, err)
	}
	return c, r
}

func rss(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb * 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// BenchmarkSubscribers measures 10,000 idle subscribers and 1,000 active ones of a real server: what
// one costs in memory, and the time from sending a change to each of the active ones having it. Both
// processes share the machine.
func BenchmarkSubscribers(b *testing.B) {
	const idle, active = 10_000, 1_000
	p := startServer(b, b.TempDir())
	address := strings.TrimPrefix(p.url, "http://")
	before := rss(b, p.Process.Pid)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range idle {
		c, _ := subscribeRaw(b, address, fmt.Sprintf("/v1/streams/services/quiet-%d", i%100))
		conns = append(conns, c)
	}
	time.Sleep(time.Second)
	each := (rss(b, p.Process.Pid) - before) / idle
	var sent atomic.Int64 // when the newest change was sent
	var mu sync.Mutex
	var latencies []time.Duration
	arrived := make(chan struct{}, active)
	for range active {
		c, r := subscribeRaw(b, address, "/v1/streams/services/busy")
		conns = append(conns, c)
		go func() {
			for {
				line, err := r.ReadSlice('\n')
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
				if strings.HasPrefix(string(line), "event: change") {
					d := time.Duration(time.Now().UnixNano() - sent.Load())
					mu.Lock()
					latencies = append(latencies, d)
					mu.Unlock()
					arrived <- struct{}{}
				}
			}
		}()
	}
	time.Sleep(500 * time.Millisecond)
	n := 0
	for b.Loop() {
		n++
		sent.Store(time.Now().UnixNano())
		if status, body, err := p.send("PUT", "/v1/services/busy/instances/a", fmt.Sprintf(`{"address":"10.0.0.5","version":"%d","ttl":"1h"}`, n)); err != nil || status >= 300 {
			b.Fatal(status, err, string(body))
		}
		for range active {
			<-arrived
		}
	}
	slices.Sort(latencies)
	at := func(q float64) float64 {
		return float64(latencies[int(q*float64(len(latencies)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(each/1024, "KiB/idle-subscriber")
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
}

// BenchmarkAppendWithStuckSubscribers registers through HTTP from 16 connections, without and with 200
// subscribers that never read what they are sent.
func BenchmarkAppendWithStuckSubscribers(b *testing.B) {
	for _, stuck := range []int{0, 200} {
		b.Run(fmt.Sprint("stuck=", stuck), func(b *testing.B) {
			p := startServer(b, b.TempDir())
			address := strings.TrimPrefix(p.url, "http://")
			for range stuck {
				c, _ := subscribeRaw(b, address, "/v1/streams/catalog")
				defer c.Close()
			}
			var n atomic.Int64
			register := func() {
				i := n.Add(1)
				if status, body, err := p.send("PUT", fmt.Sprintf("/v1/services/s%d/instances/i%d", i%50, i%5000), fmt.Sprintf(`{"address":"10.0.0.5","version":"%d","ttl":"1h"}`, i)); err != nil || status >= 300 {
					b.Error(status, err, string(body))
				}
			}
			for range 8000 { // fills the sockets of the stuck
				register()
			}
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					register()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "registrations/s")
		})
	}
}
