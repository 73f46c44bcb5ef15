package watch_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

// A process that watches 1,000 services of ten instances each needs less than 20 MB for them.
func TestAThousandServicesTakeLittleMemory(t *testing.T) {
	r := clienttest.New()
	for service := range 1000 {
		for n := range 10 {
			r.Register(fmt.Sprint("service-", service), fmt.Sprint("instance-", n), fmt.Sprintf("10.0.%d.%d", n, service%250+1), 8080)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	ctx, end := context.WithCancel(t.Context())
	w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{})
	defer func() { end(); <-w.Done() }()
	var last *watch.Service
	for service := range 1000 {
		s, err := w.Service(domain.ServiceKey{Service: fmt.Sprint("service-", service)})
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	waiting, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	if err := last.Wait(waiting); err != nil {
		t.Fatal(err)
	}
	used := int64(heap()) - int64(before)
	t.Logf("1,000 services with 10,000 instances take %.1f MB", float64(used)/1e6)
	if used > 20e6 {
		t.Errorf("1,000 services take %d bytes", used)
	}
	runtime.KeepAlive(last)
}
