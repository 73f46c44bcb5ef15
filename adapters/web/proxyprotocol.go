package web

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// ProxyProtocol gives a listener on which the connections of the trusted proxies begin with a header of the PROXY protocol,
// version 2. The header says whose connection the proxy passes on. A connection of a trusted proxy without the header ends. A
// connection of anybody else is as any other: if it begins with such a header, the header is a malformed request.
func (p *Proxies) ProxyProtocol(l net.Listener, logger *slog.Logger) net.Listener {
	return &proxyListener{Listener: l, proxies: p, logger: logger}
}

type proxyListener struct {
	net.Listener
	proxies *Proxies
	logger  *slog.Logger
}

// Accept implements net.Listener. It does not wait for the header: a slow proxy must not hold up the others.
func (l *proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil && l.proxies.trusts(AddressOf(tcp.RemoteAddr().String())) {
		return &ProxiedConn{TCPConn: tcp, logger: l.logger}, nil
	}
	return c, err
}

// ProxiedConn is a connection that a proxy passes on. Its RemoteAddr is that of the proxy's client. The first call of
// RemoteAddr or Read reads the header, for at most HeaderTimeout.
type ProxiedConn struct {
	*net.TCPConn
	logger *slog.Logger

	once   sync.Once
	client net.Addr
	err    error // of the header
}

// Read implements net.Conn.
func (c *ProxiedConn) Read(p []byte) (int, error) {
	c.once.Do(c.readHeader)
	if c.err != nil {
		return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.client, Err: c.err} // the HTTP server closes the connection without a reply
	}
	return c.TCPConn.Read(p)
}

// RemoteAddr implements net.Conn.
func (c *ProxiedConn) RemoteAddr() net.Addr {
	c.once.Do(c.readHeader)
	return c.client
}

// The fixed part of a header of version 2: a signature, version and command, address family, and the length of the rest.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = len(proxySignature) + 4
)

var errNoProxyHeader = errors.New("the connection does not begin with a PROXY header, version 2")

func (c *ProxiedConn) readHeader() {
	c.client = c.TCPConn.RemoteAddr()
	_ = c.SetReadDeadline(time.Now().Add(HeaderTimeout)) // a closed connection gives the error when it is read
	header, err := readProxyHeader(c.TCPConn)
	_ = c.SetReadDeadline(time.Time{})
	switch {
	case errors.Is(err, io.EOF): // a look whether the port is open
		c.err = err
	case err != nil:
		c.err = err
		c.logger.Warn("a connection of a trusted proxy is closed", "proxy", c.client.String(), "cause", err)
	case header.Command.IsLocal(): // the proxy asks for itself
	default:
		c.client = unknownClient{}
		if from, _, ok := header.TCPAddrs(); ok {
			c.client = from
		}
	}
}

// readProxyHeader reads exactly the header, so that the bytes behind it stay in the connection.
func readProxyHeader(r io.Reader) (*proxyproto.Header, error) {
	b := make([]byte, proxyFixed)
	if n, err := io.ReadFull(r, b); err != nil && (n == 0 || !errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil, err
	} else if err != nil || !bytes.HasPrefix(b, []byte(proxySignature)) || b[len(proxySignature)]>>4 != 2 {
		return nil, errNoProxyHeader
	}
	if b[len(proxySignature)+1] == 0 { // no address is given
		_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint16(b[proxyFixed-2:])))
		return &proxyproto.Header{Command: proxyproto.ProtocolVersionAndCommand(b[len(proxySignature)])}, err
	}
	b = append(b, make([]byte, binary.BigEndian.Uint16(b[proxyFixed-2:]))...)
	if _, err := io.ReadFull(r, b[proxyFixed:]); err != nil {
		return nil, errors.Join(errNoProxyHeader, err)
	}
	return proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
}

// unknownClient is the client of a connection about which the proxy says nothing.
type unknownClient struct{}

// Network implements net.Addr.
func (unknownClient) Network() string { return "tcp" }

// String implements net.Addr.
func (unknownClient) String() string { return UnknownSource }
