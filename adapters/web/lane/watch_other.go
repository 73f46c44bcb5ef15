//go:build !unix

package lane

// watch waits until a byte has come or the client has closed the connection. It takes the byte, so that the server
// answers the next request.
func (c *conn) watch(buffer []byte) (int, error) { return c.Conn.Read(buffer) }
