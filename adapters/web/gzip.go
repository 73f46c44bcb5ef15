package web

import (
	"bytes"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"
	"golang.org/x/sync/singleflight"

	"github.com/rollcall-registry/rollcall/projections/encoded"
)

// GzipFrom is the length in bytes from which on a reply is compressed for clients that accept it. A shorter one fits into a
// few packets.
const GzipFrom = 8 << 10

// Gzip compresses replies in JSON to GET. A reply with an entity tag is compressed once for all clients, as long as it is
// among those that were compressed last. Few replies are compressed at once; a reply that finds no turn is sent as it is, so
// that heartbeats never wait for compression.
type Gzip struct {
	turns   chan struct{} // holds a token for each reply that is being compressed
	writers sync.Pool     // of *gzip.Writer
	flights singleflight.Group
	kept    encoded.Kept // by tag and length
}

// NewGzip makes a Gzip that keeps compressed replies of at most that many bytes together.
func NewGzip(keep int) *Gzip {
	return &Gzip{
		turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		writers: sync.Pool{New: func() any {
			w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
			if err != nil {
				panic(err) // cannot happen: the level exists
			}
			return w
		}},
		kept: encoded.Kept{Limit: keep},
	}
}

// gzipKey is under what a request that accepts compressed replies has its Gzip.
const gzipKey = "web.gzip"

// Offer lets Answer compress the replies to requests that accept it. Streams, which Answer does not send, stay as they are.
func (g *Gzip) Offer(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if accepted := r.Header["Accept-Encoding"]; len(accepted) > 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) && AcceptsGzip(strings.Join(accepted, ",")) {
			c.Set(gzipKey, g)
		}
		return next(c)
	}
}

// AcceptsGzip says whether an Accept-Encoding header accepts gzip (RFC 9110 12.5.3).
func AcceptsGzip(header string) bool {
	any := false
	for item := range strings.SplitSeq(header, ",") {
		coding, parameters, _ := strings.Cut(item, ";")
		accepted := true
		if weight, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameters)), "q="); ok {
			q, err := strconv.ParseFloat(weight, 64)
			accepted = err == nil && q > 0
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return accepted
		case "*":
			any = accepted
		}
	}
	return any
}

// Weak is the weak form of an entity tag. Compressed and plain bytes differ, so that a strong tag must not name both.
func Weak(etag string) string { return "W/" + etag }

// compressed is the reply's body compressed, if the client accepts that and it is worth it. etag names the body; "": none
// does, and the compressed body is not kept.
func compressed(c echo.Context, etag string, body []byte) ([]byte, bool) {
	if len(body) < GzipFrom {
		return nil, false
	}
	c.Response().Header().Add("Vary", "Accept-Encoding")
	g, ok := c.Get(gzipKey).(*Gzip)
	if !ok {
		return nil, false
	}
	if etag == "" {
		return g.compress(body)
	}
	name := etag + " " + strconv.Itoa(len(body))
	if form, ok := g.kept.Find(name); ok {
		return form.Bytes, true
	}
	made, _, _ := g.flights.Do(name, func() (any, error) {
		small, ok := g.compress(body)
		if !ok {
			return []byte(nil), nil
		}
		g.kept.Put(name, encoded.Form{Bytes: small})
		return small, nil
	})
	small := made.([]byte)
	return small, small != nil
}

// compress compresses a body, unless too many are being compressed.
func (g *Gzip) compress(body []byte) ([]byte, bool) {
	select {
	case g.turns <- struct{}{}:
		defer func() { <-g.turns }()
	default:
		return nil, false
	}
	var small bytes.Buffer
	small.Grow(len(body)/8 + 512)
	w := g.writers.Get().(*gzip.Writer)
	defer g.writers.Put(w)
	w.Reset(&small)
	for rest := body; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
		_, _ = w.Write(rest[:min(piece, len(rest))]) // a buffer takes everything
		if len(rest) > piece {
			runtime.Gosched() // heartbeats that wait for a processor go first
		}
	}
	_ = w.Close()
	return bytes.Clone(small.Bytes()), true
}
