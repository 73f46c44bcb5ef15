//go:build unix

package lane

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"syscall"
)

// watch waits until a byte has come or the client has closed the connection. It takes no byte of a request from the
// connection, and returns 0 without an error when a request has come. buffer is memory for one byte.
func (c *conn) watch(buffer []byte) (int, error) {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		var record [recordHeader]byte
		n, err := peek(secure.NetConn(), record[:])
		if err != nil || mayEndTLS(record[:n]) {
			return secure.Read(buffer)
		}
		return 0, nil
	}
	_, err := peek(c.Conn, buffer)
	return 0, err
}

// peek waits for bytes and leaves them in the connection.
func peek(c net.Conn, buffer []byte) (n int, err error) {
	tcp, ok := c.(syscall.Conn)
	if !ok {
		return 0, syscall.ENOTSUP
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		n, _, peekErr = syscall.Recvfrom(int(fd), buffer, syscall.MSG_PEEK)
		return peekErr != syscall.EAGAIN && peekErr != syscall.EINTR
	})
	switch {
	case err != nil:
		return 0, err
	case peekErr != nil:
		return 0, os.NewSyscallError("recvfrom", peekErr)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

const (
	recordHeader    = 5    // bytes of the header of a TLS record: its type, version and length
	applicationData = 0x17 // the type of a record that holds a request
	longestAlert    = 64   // bytes of an encrypted alert, at most; a request has more
)

// mayEndTLS says whether a TLS record may be the alert by which a client ends the connection. TLS 1.3 gives an alert the
// type of application data, so that only its length tells the two apart.
func mayEndTLS(header []byte) bool {
	return len(header) < recordHeader || header[0] != applicationData || binary.BigEndian.Uint16(header[3:]) <= longestAlert
}
