package dns

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
)

// pipes is a listener whose connections are handed to it.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) { return <-p, nil }
func (p pipes) Close() error              { return nil }
func (p pipes) Addr() net.Addr            { return nil }

// connect gives both ends of a new connection of the crowd.
func connect(t *testing.T, c *crowd, p pipes) (client, server net.Conn) {
	t.Helper()
	client, accepted := net.Pipe()
	p <- accepted
	server, err := c.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestTheConnectionThatWasSilentForLongestMakesPlace(t *testing.T) {
	p := make(pipes, 1)
	c := newCrowd(p, 2)
	first, firstServer := connect(t, c, p)
	second, secondServer := connect(t, c, p)
	go func() { _, _ = first.Write([]byte{1}) }()
	if _, err := firstServer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_, thirdServer := connect(t, c, p)
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the silent connection: %v", err)
	}
	if err := secondServer.Close(); err != nil {
		t.Errorf("a close of a connection that made place: %v", err)
	}
	thirdServer.Close()
	connect(t, c, p)
	go func() { _, _ = first.Write([]byte{2}) }()
	if _, err := firstServer.Read(make([]byte, 1)); err != nil {
		t.Errorf("a connection was closed although there was place: %v", err)
	}
}

func TestAClientThatReadsNoReplyIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := make(pipes, 1)
		_, server := connect(t, newCrowd(p, 2), p)
		if _, err := server.Write([]byte("a reply")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the reply that nobody reads: %v", err)
		}
	})
}
