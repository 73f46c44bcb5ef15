//go:build !unix

package lane

import "net"

// watch waits until a byte has come or the client has closed the connection. It takes the byte, so that the server
// answers the next request.
func watch(c *net.TCPConn, buffer []byte) (int, error) { return c.Read(buffer) }
