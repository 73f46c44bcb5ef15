package probes

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// TestMain lets the test's binary be the targets of a benchmark, in a process of their own: what is measured is the prober.
func TestMain(m *testing.M) {
	if n := os.Getenv("ROLLCALL_TEST_TARGETS"); n != "" {
		serveTargets(n)
		return
	}
	os.Exit(m.Run())
}

// serveTargets listens on that many addresses, and prints them. It ends with its standard input.
func serveTargets(count string) {
	var n int
	_, _ = fmt.Sscan(count, &n)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.1:0", 1+i/250, i%250))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(l.Addr())
		go func() { _ = http.Serve(l, handler) }()
	}
	fmt.Println("end")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
}

// targets starts a process with targets.
func targets(b *testing.B, n int) (addresses []string) {
	b.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("ROLLCALL_TEST_TARGETS=%d", n))
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "end" {
		addresses = append(addresses, lines.Text())
	}
	if len(addresses) != n {
		b.Fatalf("%d of %d targets: %v", len(addresses), n, addresses[len(addresses)-1])
	}
	return addresses
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func memory() (bytes uint64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}

// tally counts looks.
type tally struct{ passed, others atomic.Int64 }

func (t *tally) Late() {}

func (t *tally) Looked(_ domain.ServiceKey, _, result string, _ time.Duration) {
	if result == Passed {
		t.passed.Add(1)
	} else {
		t.others.Add(1)
	}
}

// BenchmarkManyChecks measures what 50,000 checks every 10 s cost: cores of the prober's process, and its memory. The
// targets answer in another process. Where there are fewer addresses than connections that are kept, connections are
// used again; "alone" is the worst case, in which each look connects.
func BenchmarkManyChecks(b *testing.B) {
	const checks, every = 50_000, 10 * time.Second
	for name, c := range map[string]struct {
		addresses int
		reuse     bool
	}{"on=200": {200, true}, "on=4000": {4000, true}, "alone": {2000, false}} {
		b.Run(name, func(b *testing.B) {
			addresses := targets(b, c.addresses)
			l := NewLooker(LookerOptions{Reach: domain.Reach{Loopback: true}, Now: time.Now})
			defer l.Close()
			l.transport.DisableKeepAlives = !c.reuse
			o := &tally{}
			p := New(Options{
				Look: l.Look, Mine: Alone("n").Mine, Observer: o, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
				Report: func(_ context.Context, reports []Report) []error { return make([]error, len(reports)) },
			})
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx) }()
			before := heap()
			for n := range checks {
				host, port, _ := strings.Cut(addresses[n%len(addresses)], ":")
				i := instanceOf(n, func(c *Check) {
					c.Target.Host, c.Interval, c.Status = host, every, domain.Passing
					_, _ = fmt.Sscan(port, &c.Target.Port)
				})
				i.Address = host
				p.Set(i, false)
			}
			idle := float64(heap()-before) / checks
			time.Sleep(6 * time.Second) // until the connections are open
			looks, burnt, began := o.passed.Load(), cpu(), time.Now()
			for b.Loop() {
				time.Sleep(6 * time.Second)
			}
			took := time.Since(began)
			b.ReportMetric(idle, "B/check")
			b.ReportMetric(float64(cpu()-burnt)/float64(took), "cores")
			b.ReportMetric(float64(o.passed.Load()-looks)/took.Seconds(), "probes/s")
			b.ReportMetric(float64(memory())/(1<<20), "MiB")
			b.ReportMetric(float64(o.others.Load()), "failed")
			b.ReportMetric(0, "ns/op")
			stop()
			<-ended
		})
	}
}
