package webhooks

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// An event that is to go to its target by TLS is not sent in plain because the target says so.
func TestNoRedirectTakesAnEventOffTLS(t *testing.T) {
	check := newClient(true, time.Second).CheckRedirect
	for from, to := range map[string]map[string]bool{ // whether it is followed
		"https://hook.example/": {"http://hook.example/": false, "https://other.example/": true},
		"http://hook.example/":  {"http://other.example/": true, "https://hook.example/": true},
	} {
		for target, followed := range to {
			err := check(httptest.NewRequest(http.MethodPost, target, nil), []*http.Request{httptest.NewRequest(http.MethodPost, from, nil)})
			if (err == nil) != followed {
				t.Errorf("from %s to %s: %v", from, target, err)
			}
		}
	}
}
