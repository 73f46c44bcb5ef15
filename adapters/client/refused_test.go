package client_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

// gatekeeper stands before a registry and refuses what it is asked while refuses is set.
type gatekeeper struct {
	*clienttest.Registry
	refuses atomic.Bool
	refused atomic.Int64 // requests
}

func (r *gatekeeper) RoundTrip(request *http.Request) (*http.Response, error) {
	if !r.refuses.Load() {
		return r.Registry.RoundTrip(request)
	}
	r.refused.Add(1)
	return &http.Response{
		StatusCode: http.StatusUnauthorized, Status: "401 Unauthorized", Request: request, Header: http.Header{"Rollcall-Position": {"1"}},
		Body: io.NopCloser(strings.NewReader(`{"type":"urn:rollcall:problem:unauthenticated","title":"the token is not known","status":401}`)),
	}, nil
}

// keepThrough keeps instances with a ttl of 6 s registered through a gatekeeper.
func keepThrough(t *testing.T, r *gatekeeper, instances int, options client.Options) []*client.Kept {
	options.Transport = r
	c, err := client.New("http://registry.test", options)
	if err != nil {
		t.Fatal(err)
	}
	var all []*client.Kept
	for n := range instances {
		wanted := at(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint("a-", n)})
		wanted.Details.TTL = domain.Duration(6 * time.Second)
		k, err := c.Keep(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	time.Sleep(time.Minute)
	return all
}

func TestARefusalForAMomentCostsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &gatekeeper{Registry: live(t)}
		all := keepThrough(t, r, 1, client.Options{})
		for range 100 { // the pauses are random
			r.refuses.Store(true)
			for refused := r.refused.Load(); r.refused.Load() == refused; {
				time.Sleep(10 * time.Millisecond)
			}
			r.refuses.Store(false)
			time.Sleep(20 * time.Second)
		}
		if s := all[0].State(); s.Epoch != 1 || s.Err != nil {
			t.Errorf("after refusals that were over at once: %+v", s)
		}
		all[0].LetGo()
	})
}

func TestInstancesThatAreRefusedTogetherAreTriedAgainTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &gatekeeper{Registry: live(t)}
		all := keepThrough(t, r, 200, client.Options{})
		r.refuses.Store(true)
		time.Sleep(10 * time.Minute)
		if n := r.refused.Load(); n < 100 || n > 600 {
			t.Errorf("200 instances with a ttl of 6 s asked %d times in 10 minutes in which they were refused", n)
		}
		r.refuses.Store(false)
		time.Sleep(10 * time.Second)
		for _, k := range all {
			if s := k.State(); s.Phase != client.Registered || s.Err != nil {
				t.Fatalf("%s: %+v", k.Key, s)
			}
			k.LetGo()
		}
	})
}

func TestAFileOfATokenThatIsBeingWrittenSendsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(secret string) {
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	synctest.Test(t, func(t *testing.T) {
		r := &gatekeeper{Registry: live(t)}
		k := keepThrough(t, r, 1, client.Options{TokenFile: file})[0]
		write("")
		r.Asked()
		for n := 0; k.State().Err == nil && n < 300; n++ {
			time.Sleep(10 * time.Millisecond)
		}
		if s, asked := k.State(), r.Asked(); s.Err == nil || !strings.Contains(s.Err.Error(), file+" is empty") || len(asked) > 0 {
			t.Errorf("with an empty file: %+v, asked %q", s, asked)
		}
		write("second\n")
		time.Sleep(3 * time.Second)
		if s := k.State(); s.Err != nil || s.Epoch != 1 {
			t.Errorf("with a new token: %+v", s)
		}
		k.LetGo()
	})
}

// slow is a registry that answers after a while.
type slow struct {
	*clienttest.Registry
	after time.Duration
}

func (r slow) RoundTrip(request *http.Request) (*http.Response, error) {
	select {
	case <-request.Context().Done():
		return nil, request.Context().Err()
	case <-time.After(r.after):
		return r.Registry.RoundTrip(request)
	}
}

// A registry that is too slow for an instance with a short ttl keeps those whose ttl is long.
func TestAShortTTLCostsNoOtherInstanceItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("http://registry.test", client.Options{Transport: slow{live(t), 500 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		var all []*client.Kept
		for n, ttl := range []time.Duration{time.Second, 30 * time.Second, time.Second, 5 * time.Second, time.Hour} {
			wanted := at(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint("a-", n)})
			wanted.Details.TTL = domain.Duration(ttl)
			k, err := c.Keep(t.Context(), wanted)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, k)
		}
		time.Sleep(time.Hour)
		for n, k := range all {
			if s := k.State(); n != 0 && n != 2 && (s.Phase != client.Registered || s.Epoch != 1 || time.Since(s.Heard) > time.Duration(k.Details.TTL)) {
				t.Errorf("with a ttl of %v: %+v", time.Duration(k.Details.TTL), s)
			}
			k.LetGo()
		}
	})
}

// deaf swallows one request, as a connection does that is dead without an error.
type deaf struct {
	*clienttest.Registry
	swallow atomic.Bool
}

func (r *deaf) RoundTrip(request *http.Request) (*http.Response, error) {
	if r.swallow.CompareAndSwap(true, false) {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	return r.Registry.RoundTrip(request)
}

// A request about an instance with a long ttl that is never answered costs those with a short ttl no lease.
func TestALongTTLCostsNoOtherInstanceItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &deaf{Registry: live(t)}
		c, err := client.New("http://registry.test", client.Options{Transport: r})
		if err != nil {
			t.Fatal(err)
		}
		var all []*client.Kept
		for n, ttl := range []time.Duration{6 * time.Second, 2 * time.Minute} {
			wanted := at(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint("a-", n)})
			wanted.Details.TTL = domain.Duration(ttl)
			k, err := c.Keep(t.Context(), wanted)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, k)
		}
		for n := range 200 {
			time.Sleep(time.Minute + time.Duration(n)*137*time.Millisecond)
			r.swallow.Store(true)
		}
		time.Sleep(time.Minute)
		for _, k := range all {
			if s := k.State(); s.Epoch != 1 || s.Err != nil {
				t.Errorf("with a ttl of %v: %+v", time.Duration(k.Details.TTL), s)
			}
			k.LetGo()
		}
	})
}
