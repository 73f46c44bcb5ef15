package consul_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPassesBesideBlockedQueries passes the checks of a thousand services at 10,000 passes a second, at rest and while a
// thousand clients follow one of these services. No pass wakes a client, so that passes are as quick as at rest.
//
// The passes are sent on a schedule, whatever becomes of those before, and a pass that is sent late counts from when it was due.
func BenchmarkPassesBesideBlockedQueries(b *testing.B) {
	for _, blocked := range []int{0, 1000} {
		b.Run(fmt.Sprintf("blocked=%d", blocked), func(b *testing.B) {
			r := start(b)
			const services = 1000
			for n := range services {
				r.put("/v1/agent/service/register", fmt.Sprintf(`{"Name":"s%d","Port":80,"Check":{"TTL":"1h","Status":"passing"}}`, n))
			}
			var entries []entry
			index := r.get("/v1/health/service/s0", &entries)
			var woken sync.WaitGroup
			for range blocked {
				woken.Go(func() {
					ask(b, http.MethodGet, fmt.Sprintf("%s/v1/health/service/s0?index=%d&wait=10m", r.URL, index))
				})
			}
			for r.face.Blocked() < blocked {
				time.Sleep(time.Millisecond)
			}
			r.pass(b, services, 10_000)
			if now := r.get("/v1/health/service/s0", &entries); now != index || r.face.Blocked() != blocked {
				b.Errorf("the index moved from %d to %d, and %d of %d clients wait", index, now, r.face.Blocked(), blocked)
			}
			r.put("/v1/agent/service/register", `{"ID":"last","Name":"s0","Port":80}`)
			woken.Wait()
		})
	}
}

// BenchmarkPasses passes checks as fast as it goes.
func BenchmarkPasses(b *testing.B) {
	r := start(b)
	const services = 1000
	for n := range services {
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"Name":"s%d","Port":80,"Check":{"TTL":"1h","Status":"passing"}}`, n))
	}
	b.ReportAllocs()
	r.pass(b, services, 1e9)
}

// pass passes b.N checks over 64 connections, at so many a second.
func (r *rig) pass(b *testing.B, services, rate int) {
	const connections = 64
	_, address, _ := strings.Cut(r.URL, "//")
	took := make([][]time.Duration, connections)
	var passing sync.WaitGroup
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ResetTimer()
	begin := time.Now()
	for c := range connections {
		passing.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for n := c; n < b.N; n += connections {
				due := begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
				time.Sleep(time.Until(due))
				_, _ = fmt.Fprintf(conn, "PUT /v1/agent/check/pass/service:s%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", n%services, address)
				if err := readEmpty(answers); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(due))
			}
		})
	}
	passing.Wait()
	b.StopTimer()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		return
	}
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "passes/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(used(after)-used(before))/float64(len(all))/1e3, "cpu-µs/pass") // of server and clients
}

func used(u syscall.Rusage) int64 { return u.Utime.Nano() + u.Stime.Nano() }

// readEmpty reads a reply that is 200 and has no body.
func readEmpty(answers *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := answers.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !strings.HasPrefix(string(line), "HTTP/1.1 200 "):
			return fmt.Errorf("the reply is %q", line)
		case len(line) <= 2:
			return nil
		}
	}
}
