package web

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

// Timeouts of a server. The connection of a slower client is closed. Commands that were acknowledged stay done.
const (
	HeaderTimeout = 5 * time.Second // HeaderTimeout is the time in which a request's headers must come
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes
)

// Server serves a face over HTTP.
type Server struct {
	// TLS is for connections over TCP; nil: the connections have no TLS. TLS must be set before Serve.
	TLS *tls.Config
	// ProxyProtocol is for connections over TCP: those of the proxies begin with a PROXY header. nil: no connection does.
	// It must be set before Serve.
	ProxyProtocol *Proxies

	logger    *slog.Logger
	configure sync.Once
	http      *http.Server
	lane      *lane.Lane // nil: no lane
	open      connections
}

// NewServer makes a server for the handler. The lane answers plain requests before the handler. nil: no lane.
func NewServer(handler http.Handler, lane *lane.Lane, logger *slog.Logger) *Server {
	s := &http.Server{
		Handler: drained(handler), ConnContext: ConnContext,
		ReadHeaderTimeout: HeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	server := &Server{http: s, lane: lane, logger: logger, open: connections{open: make(map[net.Conn]struct{})}}
	s.ConnState = server.open.note
	if lane != nil {
		s.ConnState = func(c net.Conn, state http.ConnState) {
			lane.ConnState(c, state)
			server.open.note(c, state)
		}
	}
	return server
}

// Serve serves until Shutdown is called, and then returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.configure.Do(func() { s.http.TLSConfig = s.TLS })
	overTCP := l.Addr().Network() == "tcp"
	l = boundedListener{l}
	if s.ProxyProtocol != nil && overTCP {
		l = s.ProxyProtocol.ProxyProtocol(l, s.logger) // the header comes before TLS
	}
	switch {
	case s.TLS != nil && overTCP:
		return s.serveTLS(l)
	case s.lane != nil:
		l = s.lane.Listen(l)
	}
	return s.http.Serve(l)
}

func (s *Server) serveTLS(l net.Listener) error {
	if s.lane == nil {
		return s.http.ServeTLS(l, "", "")
	}
	http1, http2 := s.lane.ListenTLS(l, s.TLS, HeaderTimeout)
	served := make(chan error, 1) // gets the outcome of http2, which ends with Shutdown
	go func() { served <- s.http.Serve(http2) }()
	err := s.http.Serve(http1)
	_ = http2.Close() // http1 may have ended by itself
	<-served
	return err
}

// writeBuffer is how many bytes of a reply the kernel buffers for a client that does not read. Without a limit the
// kernel buffers megabytes.
const writeBuffer = 256 << 10

// boundedListener sets the size of the write buffer of each connection.
type boundedListener struct{ net.Listener }

func (n boundedListener) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if b, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = b.SetWriteBuffer(writeBuffer) // the next read of a closed connection returns the error
	}
	return c, err
}
