package dns

import (
	ordered "container/list"
	"net"
	"sync"
	"time"
)

// crowd is a listener with a bounded number of connections. Where there are too many, the connection that has been silent for
// longest is closed, so that clients which connect and say nothing, or read no reply, shut no other client out.
type crowd struct {
	net.Listener
	most int

	mu     sync.Mutex
	silent ordered.List // of *member, the one that was heard last at the end
}

// member is a connection of a crowd.
type member struct {
	net.Conn
	crowd *crowd
	place *ordered.Element // guarded by crowd.mu
}

func newCrowd(l net.Listener, most int) *crowd { return &crowd{Listener: l, most: most} }

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	m := &member{Conn: conn, crowd: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent.Len() >= c.most {
		oldest := c.silent.Remove(c.silent.Front()).(*member)
		_ = oldest.Conn.Close() // the server's read or write of it fails
	}
	m.place = c.silent.PushBack(m)
	return m, nil
}

// Read notes that the client was heard.
func (m *member) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if n > 0 {
		m.crowd.mu.Lock()
		m.crowd.silent.MoveToBack(m.place) // nothing happens where it was removed
		m.crowd.mu.Unlock()
	}
	return n, err
}

// Write gives up on a client that reads no reply: the server itself sets no bound.
func (m *member) Write(b []byte) (int, error) {
	if err := m.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return m.Conn.Write(b)
}

func (m *member) Close() error {
	m.crowd.mu.Lock()
	m.crowd.silent.Remove(m.place) // nothing happens where it was removed
	m.crowd.mu.Unlock()
	return m.Conn.Close()
}
