package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/rollcallgrpc"
	"github.com/rollcall-registry/rollcall/adapters/client/rollcallhttp"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

// callers call the instances of shop until they are stopped, and count the outcomes.
type callers struct {
	t                   *testing.T
	calls, errors, late atomic.Int64
	mu                  sync.Mutex
	seen                map[string]int // of each error, shortened
	group               sync.WaitGroup
	stop                chan struct{}
}

// run calls again and again.
func (c *callers) run(n int, call func() (late bool, err error)) {
	for range n {
		c.group.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				late, err := call()
				c.calls.Add(1)
				if late {
					c.late.Add(1)
				}
				if err != nil {
					c.errors.Add(1)
					c.mu.Lock()
					c.seen[err.Error()]++
					c.mu.Unlock()
				}
			}
		})
	}
}

// phase tells how many calls failed in a phase of the test.
func (c *callers) phase(name string, act func()) {
	c.t.Helper()
	calls, failed := c.calls.Load(), c.errors.Load()
	act()
	c.t.Logf("%s: %d calls, %d failed", name, c.calls.Load()-calls, c.errors.Load()-failed)
}

// TestCallersAndInstancesLiveThroughEverything calls instances by HTTP and gRPC while instances are deployed, drain,
// crash, hang and are cut off, and while the registry is killed, restored and out of reach.
func TestCallersAndInstancesLiveThroughEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over a minute")
	}
	data := t.TempDir()
	p := startServer(t, data)
	address := func(p *process) string { return strings.TrimPrefix(p.url, "http://") }
	path := startRelay(t, address(p))    // of the instances
	calling := startRelay(t, address(p)) // of the callers
	only := startRelay(t, address(p))    // of one instance
	registry, err := client.New(calling.url(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	w := watch.Start(ctx, registry, watch.Options{Cache: filepath.Join(t.TempDir(), "cache.json"), OnChange: func(s watch.State) { t.Logf("the stream: live %v, %v", s.Live, s.Err) }})
	defer func() { end(); <-w.Done() }()
	shopService, err := w.Service(domain.ServiceKey{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	// ready waits until the callers know that so many instances are ready.
	ready := func(want int) {
		t.Helper()
		got := -1
		for began := time.Now(); time.Since(began) < 40*time.Second; time.Sleep(20 * time.Millisecond) {
			instances, _ := shopService.Instances()
			got = 0
			for _, i := range instances {
				if pick.Ready(i) {
					got++
				}
			}
			if got == want {
				return
			}
		}
		t.Fatalf("%d instances are ready, want %d", got, want)
	}
	var fleet []*shop
	for _, id := range []string{"a", "b", "c", "d"} {
		fleet = append(fleet, startShop(t, path.url(), id))
	}
	ready(4)

	base := http.DefaultTransport.(*http.Transport).Clone()
	base.ResponseHeaderTimeout = time.Second // an instance that hangs is given up
	web := &http.Client{Transport: rollcallhttp.New(w, rollcallhttp.Options{Base: base})}
	conn, err := grpc.NewClient("rollcall:///shop", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(rollcallgrpc.NewResolver(w, rollcallgrpc.Options{
		Pick:          pick.Options{Policy: pick.LeastLoaded},
		ServiceConfig: `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.02s","maxBackoff":"0.2s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`,
	})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	calls := grpc_health_v1.NewHealthClient(conn)
	load := &callers{t: t, seen: map[string]int{}, stop: make(chan struct{})}
	load.run(4, func() (bool, error) {
		resp, err := web.Get("http://shop.rollcall/")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return resp.StatusCode == http.StatusTeapot, err
	})
	load.run(2, func() (bool, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := calls.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return status.Code(err) == codes.FailedPrecondition, err
	})

	load.phase("quiet", func() { time.Sleep(time.Second) })
	backup := filepath.Join(t.TempDir(), "backup")
	load.phase("deploy: two come, two drain", func() {
		fleet = append(fleet, startShop(t, path.url(), "e"), startShop(t, path.url(), "f"))
		ready(6)
		if out, err := rollcall("backup", backup, "--data", data); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		fleet[0].signal(t, syscall.SIGTERM)
		fleet[1].signal(t, syscall.SIGTERM)
		ready(4)
		<-fleet[0].done
		<-fleet[1].done
	})
	load.phase("crash: one is killed", func() {
		fleet[2].kill()
		ready(3)
	})
	load.phase("hang: one is stopped, and goes on after its lease", func() {
		fleet[3].signal(t, syscall.SIGSTOP)
		ready(2)
		fleet[3].signal(t, syscall.SIGCONT)
		ready(3)
	})
	load.phase("the registry is killed, and comes back", func() {
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.done
		time.Sleep(2 * time.Second)
		p = startServer(t, data)
		path.setTarget(address(p))
		calling.setTarget(address(p))
		only.setTarget(address(p))
		time.Sleep(shopTTL + time.Second)
		ready(3)
	})
	load.phase("one is cut off from the registry, until its lease has expired", func() {
		startShop(t, only.url(), "g")
		ready(4)
		only.swallow(2 * shopTTL)
		ready(3)
		ready(4)
	})
	load.phase("the path to the registry swallows bytes", func() {
		path.swallow(time.Second)
		time.Sleep(2 * shopTTL)
		ready(4)
	})
	load.phase("the callers' path swallows bytes, and nobody says so", func() {
		calling.swallow(time.Second) // the stream is dead
		began := time.Now()
		startShop(t, path.url(), "h")
		ready(5)
		if took := time.Since(began); took < 5*time.Second || took > 2*client.KeepAlive+5*time.Second {
			t.Errorf("the callers noticed after %v", took)
		}
	})
	load.phase("the registry is restored from the backup", func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		restored := filepath.Join(t.TempDir(), "restored")
		path.cut()
		if out, err := rollcall("restore", backup, "--data", restored); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		p = startServer(t, restored)
		path.setTarget(address(p))
		calling.setTarget(address(p))
		only.setTarget(address(p))
		for began := time.Now(); !w.State().Live; time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the stream is not back: %+v", w.State())
			}
		}
		ready(5) // d to h; those that the backup has, and that ended since, have leases that lapse
		if s := w.State(); !s.Live || s.Age() > client.KeepAlive {
			t.Errorf("after the restore the callers' instances are old: %+v", s)
		}
	})
	close(load.stop)
	load.group.Wait()
	total, failed := load.calls.Load(), load.errors.Load()
	t.Logf("%d calls, %d failed (%.3f %%): %v", total, failed, 100*float64(failed)/float64(total), load.seen)
	if load.late.Load() != 0 {
		t.Errorf("%d calls came to an instance that had drained", load.late.Load())
	}
	if total < 5000 || float64(failed) > 0.002*float64(total) {
		t.Errorf("%d of %d calls failed", failed, total)
	}
}
