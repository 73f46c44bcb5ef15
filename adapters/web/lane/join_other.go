//go:build !linux

package lane

// loop is for Linux only: on other systems each connection's goroutine reads the requests.
type loop struct{}

func (c *conn) join([]byte) (n int, err error) {
	c.joinAfter = never
	return 0, nil
}
