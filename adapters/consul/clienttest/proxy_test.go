package clienttest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// counting is a proxy before the registry that counts what a client asks.
type counting struct {
	requests atomic.Int64
	address  string
}

func (r *registry) counted(t *testing.T) *counting {
	target := &url.URL{Scheme: "http", Host: r.address}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
		FlushInterval: -1,
		// A client sees a connection that ends, as without the proxy.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	c := &counting{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		forward.ServeHTTP(w, r)
	}))
	c.address = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return c
}
