package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// serveTargets serves what probes look at, on that many ports of the loopback address. GET /targets lists their addresses.
// GET /health passes. GET /turning passes, too, until PUT /turn/500 says otherwise; PUT /turn/200 ends that.
func serveTargets(ctx context.Context, count int) error {
	var status atomic.Int64
	status.Store(http.StatusOK)
	var addresses []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /turning", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	mux.HandleFunc("PUT /turn/200", func(http.ResponseWriter, *http.Request) { status.Store(http.StatusOK) })
	mux.HandleFunc("PUT /turn/500", func(http.ResponseWriter, *http.Request) { status.Store(http.StatusInternalServerError) })
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(addresses) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	listeners := make([]net.Listener, count)
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		addresses = append(addresses, listeners[i].Addr().String())
	}
	ended := make(chan error, count)
	for _, l := range listeners {
		go func() { ended <- server.Serve(l) }()
	}
	fmt.Fprintf(os.Stderr, "{\"msg\":\"rollcall is ready\",\"url\":\"http://%s\"}\n", addresses[0])
	var failed error
	for range listeners {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			failed = errors.Join(failed, err, server.Close())
		}
	}
	return failed
}

// targets are a process with what probes look at.
type targets struct {
	*child
	addresses []string
}

func startTargets(ctx context.Context) (*targets, error) {
	const count = 200
	c, err := startChild(ctx, "bench-floor", "--targets", fmt.Sprint(count))
	if err != nil {
		return nil, err
	}
	t := &targets{child: c}
	resp, err := http.Get("http://" + c.address + "/targets")
	if err == nil {
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&t.addresses), resp.Body.Close())
	}
	if err != nil {
		return nil, errors.Join(err, ignoreExit(c.stop()))
	}
	return t, nil
}

// turn has /turning answer with a status from now on.
func (t *targets) turn(status int) error {
	r, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/turn/%d", t.address, status), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// registration is the body of an instance whose check looks at the nth target.
func (t *targets) registration(n int, path string, every time.Duration) string {
	address := t.addresses[n%len(t.addresses)]
	return fmt.Sprintf(`{"address":"127.0.0.1","ports":{"http":8080},"version":"1.0","ttl":"1h","checks":[{"id":"http","kind":"http","url":"http://%s%s","interval":"%s","timeout":"1s"}]}`, address, path, every)
}
