package lane

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// ListenTLS wraps a listener whose connections speak TLS. http.Server.Serve is called with both results: http1 gives the
// connections, and http2 those of http1 that turned out to speak HTTP/2, for which there is no lane. The server's TLSConfig must
// be the config.
func (l *Lane) ListenTLS(inner net.Listener, config *tls.Config, handshakeTimeout time.Duration) (http1, http2 net.Listener) {
	passed := &passedOn{address: inner.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})}
	return secureListener{inner, l, config, handshakeTimeout, passed}, passed
}

type secureListener struct {
	net.Listener
	lane    *Lane
	config  *tls.Config
	timeout time.Duration // of the handshake
	http2   *passedOn
}

// Accept implements net.Listener. The handshake comes later, in the goroutine of the connection.
func (l secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &secureConn{conn: l.lane.conn(tls.Server(c, l.config)), listener: l}, nil
}

// secureConn is a conn over TLS.
type secureConn struct {
	*conn
	listener secureListener
}

// ConnectionState makes the handshake. http.Server calls it once, in the goroutine that serves the connection, before
// that goroutine reads (TestTheLaneUnderTLSIsByteForByteTheServer notices a change). After a handshake that failed, the
// next read fails.
//
// INVARIANT: a connection that speaks HTTP/2 belongs to the listener http2 from its handover on: the server keeps a conn
// that is closed.
func (s *secureConn) ConnectionState() tls.ConnectionState {
	secure := s.Conn.(*tls.Conn)
	ctx, cancel := context.WithTimeout(context.Background(), s.listener.timeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		answerPlain(err)
		return secure.ConnectionState() // a read of the connection gives the error
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol == "h2" && s.state.CompareAndSwap(open, closed) {
		s.Conn = handedOver{secure}
		s.listener.http2.give(secure)
	}
	return state
}

// answerPlain tells a client that sent plain HTTP what is wrong, as http.Server does.
func answerPlain(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}
	switch string(record.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		_ = record.Conn.Close()
	}
}

// handedOver stands for a connection that belongs to another listener: its user can neither read nor write it, nor set its
// deadlines.
type handedOver struct{ net.Conn }

func (handedOver) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (handedOver) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (handedOver) Close() error                     { return nil }
func (handedOver) SetDeadline(time.Time) error      { return net.ErrClosed }
func (handedOver) SetReadDeadline(time.Time) error  { return net.ErrClosed }
func (handedOver) SetWriteDeadline(time.Time) error { return net.ErrClosed }

// passedOn is a listener of connections that another listener accepted.
type passedOn struct {
	address net.Addr
	conns   chan net.Conn // never closed
	closed  chan struct{} // closed by Close
	once    sync.Once
}

// give waits until the connection is accepted. A connection that comes too late is closed.
func (p *passedOn) give(c net.Conn) {
	select {
	case p.conns <- c:
	case <-p.closed:
		_ = c.Close() // the server has ended
	}
}

// Accept implements net.Listener.
func (p *passedOn) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *passedOn) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *passedOn) Addr() net.Addr { return p.address }
