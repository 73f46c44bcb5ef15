//go:build !unix

package lane

import "net"

// watch waits until something came or the client is gone. What came is taken; the next request is then
// the server's.
func watch(c *net.TCPConn, buffer []byte) (int, error) { return c.Read(buffer) }
