package rollcallhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/rollcallhttp"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

// network stands for the instances: it answers by address.
type network struct {
	mu      sync.Mutex
	answers map[string]func(*http.Request) (*http.Response, error)
	sent    []string // "address method host path body"
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		body = string(b)
	}
	n.mu.Lock()
	n.sent = append(n.sent, strings.TrimSpace(fmt.Sprint(r.URL.Host, " ", r.Method, " ", r.Host, " ", r.URL.Path, " ", body)))
	answer := n.answers[r.URL.Host]
	n.mu.Unlock()
	if answer == nil {
		return status(200)(r)
	}
	return answer(r)
}

// took gives what was sent since the last call.
func (n *network) took() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	sent := n.sent
	n.sent = nil
	return sent
}

func status(code int) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(r.URL.Host)), Request: r}, nil
	}
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

var (
	refused = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	reset   = &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
)

// calling is a registry with checkout at 10.0.0.1 to 10.0.0.3, and a client of its instances.
func calling(t *testing.T, options rollcallhttp.Options) (*clienttest.Registry, *network, *http.Client) {
	t.Helper()
	r := clienttest.New()
	for n := 1; n <= 3; n++ {
		r.Register("checkout", fmt.Sprint("a-", n), fmt.Sprint("10.0.0.", n), 8080)
	}
	ctx, end := context.WithCancel(t.Context())
	w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{})
	t.Cleanup(func() { end(); <-w.Done() })
	n := &network{answers: map[string]func(*http.Request) (*http.Response, error){}}
	options.Base = n
	return r, n, &http.Client{Transport: rollcallhttp.New(w, options)}
}

// do sends a request and gives the status and body of the reply.
func do(c *http.Client, method, url string, body io.Reader) (string, error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(b)), err
}

func TestRequestsGoToReadyInstances(t *testing.T) {
	r, n, c := calling(t, rollcallhttp.Options{})
	if err := r.Do(domain.ChangeTraffic{Key: domain.Key{Namespace: "default", Service: "checkout", ID: "a-2"}, Traffic: domain.Draining}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 20 {
		got, err := do(c, "GET", "http://checkout.rollcall/cart", nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[got] = true
	}
	if len(seen) != 2 || seen["200 10.0.0.2:8080"] {
		t.Errorf("answered by %v", seen)
	}
	if sent := n.took(); !strings.HasSuffix(sent[0], " GET checkout.rollcall /cart") {
		t.Errorf("sent %q", sent[0])
	}
	if got, err := do(c, "GET", "http://10.9.9.9:1234/", nil); err != nil || got != "200 10.9.9.9:1234" {
		t.Errorf("another host: %q, %v", got, err)
	}
}

func TestHostsNameServiceNamespaceAndPort(t *testing.T) {
	r, _, c := calling(t, rollcallhttp.Options{})
	register := func(ns, service, address string) {
		details := domain.Details{Address: address, Ports: map[string]uint16{"http": 80, "admin": 81}, Weight: 1, TTL: domain.Duration(time.Hour)}
		if err := r.Do(domain.RegisterInstance{Key: domain.Key{Namespace: ns, Service: service, ID: "x"}, Details: details}); err != nil {
			t.Fatal(err)
		}
	}
	register("default", "a.b", "10.1.0.1")
	register("prod", "checkout", "10.1.0.2")
	register("prod", "a.b", "10.1.0.3")
	register("default", "Cart", "10.1.0.4")
	for host, want := range map[string]string{
		"a.b.rollcall": "10.1.0.1:80", "checkout.prod.ns.rollcall": "10.1.0.2:80", "a.b.prod.ns.rollcall": "10.1.0.3:80",
		"_admin.a.b.prod.ns.rollcall": "10.1.0.3:81", "Cart.rollcall": "10.1.0.4:80", "_admin.Cart.rollcall:9999": "10.1.0.4:81",
	} {
		if got, err := do(c, "GET", "http://"+host+"/", nil); err != nil || got != "200 "+want {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
	for _, host := range []string{"nobody.rollcall", "_none.checkout.rollcall"} {
		if _, err := do(c, "GET", "http://"+host+"/", nil); !errors.As(err, new(*rollcallhttp.NoInstance)) || !errors.Is(err, pick.ErrNone) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := do(c, "GET", "http://-.rollcall/", nil); !errors.As(err, new(domain.InvalidField)) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestRepetitions(t *testing.T) {
	once := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) } // http cannot read it again
	for name, c := range map[string]struct {
		fail   func(*http.Request) (*http.Response, error)
		method string
		body   func() io.Reader
		header string
		sent   int
	}{
		"GET, reset":                           {fails(reset), "GET", nil, "", 3},
		"GET, 503":                             {status(503), "GET", nil, "", 3},
		"GET, 500":                             {status(500), "GET", nil, "", 1},
		"DELETE, 502":                          {status(502), "DELETE", nil, "", 3},
		"PUT with a body, reset":               {fails(reset), "PUT", func() io.Reader { return strings.NewReader("x") }, "", 3},
		"PUT with a body of one use, reset":    {fails(reset), "PUT", func() io.Reader { return once("x") }, "", 1},
		"PUT with a body of one use, 503":      {status(503), "PUT", func() io.Reader { return once("x") }, "", 1},
		"POST, reset":                          {fails(reset), "POST", func() io.Reader { return strings.NewReader("x") }, "", 1},
		"POST, 503":                            {status(503), "POST", func() io.Reader { return strings.NewReader("x") }, "", 1},
		"POST, refused":                        {fails(refused), "POST", func() io.Reader { return strings.NewReader("x") }, "", 3},
		"POST without a body, refused":         {fails(refused), "POST", nil, "", 3},
		"POST with a body of one use, refused": {fails(refused), "POST", func() io.Reader { return once("x") }, "", 1},
		"POST with a key, reset":               {fails(reset), "POST", func() io.Reader { return strings.NewReader("x") }, "Idempotency-Key", 3},
	} {
		t.Run(name, func(t *testing.T) {
			_, n, client := calling(t, rollcallhttp.Options{Pick: pick.Options{Outliers: pick.Outliers{Off: true}}})
			for i := 1; i <= 3; i++ {
				n.answers[fmt.Sprintf("10.0.0.%d:8080", i)] = c.fail
			}
			var body io.Reader
			if c.body != nil {
				body = c.body()
			}
			r, err := http.NewRequest(c.method, "http://checkout.rollcall/", body)
			if err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				r.Header.Set(c.header, "k")
			}
			resp, err := client.Do(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			sent := n.took()
			to := map[string]bool{}
			for _, s := range sent {
				to[strings.Fields(s)[0]] = true
				if (c.body != nil) != strings.HasSuffix(s, " x") {
					t.Errorf("sent %q", s)
				}
			}
			if len(sent) != c.sent || len(to) != c.sent {
				t.Errorf("sent %q, want %d to as many instances: %v", sent, c.sent, err)
			}
		})
	}
}

func TestARepetitionSucceedsElsewhere(t *testing.T) {
	_, n, c := calling(t, rollcallhttp.Options{})
	n.answers["10.0.0.1:8080"] = fails(refused)
	n.answers["10.0.0.2:8080"] = status(503)
	for range 6 {
		if got, err := do(c, "PUT", "http://checkout.rollcall/", strings.NewReader("x")); err != nil || got != "200 10.0.0.3:8080" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestWhenAllFailRepetitionsAreBounded(t *testing.T) {
	_, n, c := calling(t, rollcallhttp.Options{Pick: pick.Options{Outliers: pick.Outliers{Off: true}}})
	for i := 1; i <= 3; i++ {
		n.answers[fmt.Sprintf("10.0.0.%d:8080", i)] = status(503)
	}
	for range 1000 {
		if got, err := do(c, "GET", "http://checkout.rollcall/", nil); err != nil || !strings.HasPrefix(got, "503 ") {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if sent := len(n.took()); sent > 1000+1000/5+10 {
		t.Errorf("1000 requests were sent %d times", sent)
	}
}

func TestAnInstanceThatFailsIsLeftOut(t *testing.T) {
	_, n, c := calling(t, rollcallhttp.Options{})
	n.answers["10.0.0.1:8080"] = fails(refused)
	for range 60 {
		if _, err := do(c, "GET", "http://checkout.rollcall/", nil); err != nil {
			t.Fatal(err)
		}
	}
	tries := 0
	for _, s := range n.took() {
		if strings.HasPrefix(s, "10.0.0.1:") {
			tries++
		}
	}
	if tries != 5 {
		t.Errorf("the dead instance was tried %d times", tries)
	}
}

func TestACancelledRequestIsNotRepeated(t *testing.T) {
	_, n, c := calling(t, rollcallhttp.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := 1; i <= 3; i++ {
		n.answers[fmt.Sprintf("10.0.0.%d:8080", i)] = func(*http.Request) (*http.Response, error) {
			cancel()
			return nil, context.Canceled
		}
	}
	r, err := http.NewRequestWithContext(ctx, "GET", "http://checkout.rollcall/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if sent := n.took(); len(sent) != 1 {
		t.Errorf("sent %q", sent)
	}
}

func ExampleNew() {
	registry := clienttest.New()
	registry.Register("checkout", "a-1", "10.0.0.5", 8080)
	ctx, end := context.WithCancel(context.Background())
	w := watch.Start(ctx, registry.Client(client.Options{}), watch.Options{})
	defer func() { end(); <-w.Done() }()

	shop := &http.Client{Transport: rollcallhttp.New(w, rollcallhttp.Options{
		Pick: pick.Options{Policy: pick.LeastLoaded, Zone: "eu-1a"},
		Base: &network{}, // stands for the instances; nil: http.DefaultTransport
	})}
	resp, err := shop.Get("http://checkout.rollcall/cart")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, "from", string(b))
	// Output: 200 from 10.0.0.5:8080
}
