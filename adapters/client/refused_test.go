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
