package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

// Timeouts of a server. A client that is slower than this is cut off; what it was acknowledged stands.
const (
	HeaderTimeout = 5 * time.Second // HeaderTimeout is within what a request's headers must come
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes

	// ShutdownTimeout is how long requests may take that are under way when a server stops.
	ShutdownTimeout = 15 * time.Second
)

// Server serves a face over HTTP.
type Server struct {
	// TLS is for connections over TCP; nil: they are plain. It is set before Serve.
	TLS *tls.Config

	http *http.Server
	lane *lane.Lane // nil: there is none
}

// NewServer is a server for the handler. The lane answers what it can before the handler; nil: there is none.
func NewServer(handler http.Handler, lane *lane.Lane, logger *slog.Logger) *Server {
	s := &http.Server{
		Handler: handler, ConnContext: ConnContext,
		ReadHeaderTimeout: HeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	if lane != nil {
		s.ConnState = lane.ConnState
	}
	return &Server{http: s, lane: lane}
}

// Serve serves until Shutdown is called, and then returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	l = narrow{l}
	if s.TLS != nil && l.Addr().Network() == "tcp" {
		// The lane reads what clients send; under TLS that is the TLS library's to read.
		s.http.TLSConfig = s.TLS
		return s.http.ServeTLS(l, "", "")
	}
	if s.lane != nil {
		l = s.lane.Listen(l)
	}
	return s.http.Serve(l)
}

// writeBuffer is how many bytes the kernel keeps for a client that does not read. Left to itself it would keep
// megabytes.
const writeBuffer = 256 << 10

// narrow gives connections a write buffer of a fixed size.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if b, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = b.SetWriteBuffer(writeBuffer) // a connection that is gone says so to whoever reads
	}
	return c, err
}

// Shutdown lets the requests under way be answered, and returns when they are. When the context ends, or after
// ShutdownTimeout, those that are left are cut off, and the error says so.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ShutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("some requests were cut off: %w", err), s.http.Close())
	}
	if s.lane != nil {
		err = errors.Join(err, s.lane.Wait(ctx))
	}
	return err
}
