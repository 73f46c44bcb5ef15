package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// shopEnv has the registry's URL and the id of the instance that this process is to be, if it is one.
const shopEnv = "ROLLCALL_TEST_SHOP"

const (
	shopTTL     = 4 * time.Second
	shopDrain   = 4 * time.Second
	propagation = 2 * time.Second // after a drain, within which requests may still come
)

// serveShop is the main function of an instance: a server of HTTP and gRPC that keeps itself registered. It answers
// requests that come too long after it drained with an error that the test looks for.
func serveShop(registry, id string) error {
	c, err := client.New(registry, client.Options{Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	var drained atomic.Int64 // when it began to drain, in Unix nanoseconds; 0: it did not
	late := func() bool { at := drained.Load(); return at != 0 && time.Since(time.Unix(0, at)) > propagation }
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if late() {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = fmt.Fprint(w, id)
	})}
	calls := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if late() {
			return nil, status.Error(codes.FailedPrecondition, "drained")
		}
		return next(ctx, r)
	}))
	grpc_health_v1.RegisterHealthServer(calls, health.NewServer())
	ports := map[string]uint16{}
	for name, serve := range map[string]func(net.Listener) error{"http": web.Serve, "grpc": calls.Serve} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ports[name] = uint16(l.Addr().(*net.TCPAddr).Port)
		go func() { _ = serve(l) }()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { drained.Store(time.Now().UnixNano()) })
	kept, err := c.Keep(ctx, client.Registration{
		Key:     domain.Key{Service: "shop", ID: id},
		Details: domain.Details{Address: "127.0.0.1", Ports: ports, TTL: domain.Duration(shopTTL)},
		Drain:   shopDrain, Reason: "deployed anew",
		OnChange: func(s client.State) {
			_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"phase": string(s.Phase), "error": fmt.Sprint(s.Err)})
		},
	})
	if err != nil {
		return err
	}
	<-kept.Done()
	calls.GracefulStop()
	return web.Shutdown(context.Background())
}

// shop is a running instance.
type shop struct {
	*exec.Cmd
	id   string
	done chan struct{} // closed when the process has ended
}

// startShop starts an instance and waits until it is registered.
func startShop(t *testing.T, registry, id string) *shop {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{Cmd: exec.Command(self), id: id, done: make(chan struct{})}
	s.Env = append(os.Environ(), shopEnv+"="+registry+" "+id)
	s.Stderr = os.Stderr
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	registered := make(chan struct{})
	go func() {
		defer close(s.done)
		told := false
		for d := json.NewDecoder(out); ; {
			var state map[string]string
			if d.Decode(&state) != nil {
				break
			}
			if state["phase"] == string(client.Registered) && !told {
				told = true
				close(registered)
			}
		}
		_ = s.Wait()
	}()
	t.Cleanup(s.kill)
	select {
	case <-registered:
	case <-time.After(20 * time.Second):
		t.Fatalf("instance %s is not registered", id)
	}
	return s
}

func (s *shop) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.Process.Signal(sig); err != nil {
		t.Fatalf("instance %s: %v", s.id, err)
	}
}

func (s *shop) kill() {
	if err := s.Process.Kill(); err == nil || errors.Is(err, os.ErrProcessDone) {
		<-s.done
	}
}
