package web

import (
	"io"
	"net/http"
	"time"
)

// A client that still sends its body when the connection is closed gets a reset, often before it has read the answer. So the
// rest of a body that a handler left is read before the answer goes out, within these bounds.
const (
	maxDrained  = 2 * (8 << 20) // twice the largest body of the API
	drainWithin = 5 * time.Second
)

// drained reads what a handler left of the body of a request.
func drained(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A client that asks before it sends its body (Expect) has sent nothing when it is refused.
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || r.Header.Get("Expect") != "" {
			next.ServeHTTP(w, r)
			return
		}
		body := &watchedBody{ReadCloser: r.Body}
		r.Body = body
		next.ServeHTTP(w, r)
		r.Body = body.ReadCloser // the server looks at its type
		if !body.ended && http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainWithin)) == nil {
			_, _ = io.CopyN(io.Discard, body.ReadCloser, maxDrained) // what fails closes the connection
		}
	})
}

// watchedBody is the body of a request, which knows whether it was read to its end.
type watchedBody struct {
	io.ReadCloser
	ended bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended = true
	}
	return n, err
}

// Close leaves the body open: the server closes it.
func (b *watchedBody) Close() error { return nil }
