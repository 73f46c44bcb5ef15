//go:build unix

package raftstore

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// connected gives both ends of a TCP connection.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func TestAConnectionIsReadUpToItsEnd(t *testing.T) {
	a, b := connected(t)
	sent := bytes.Repeat([]byte("block "), 100_000)
	go func() { // it ends when the reader has taken all
		_, _ = a.Write(sent)
		_ = a.Close()
	}()
	received, err := io.ReadAll(readerOf(b))
	if err != nil || !bytes.Equal(received, sent) {
		t.Fatalf("%d of %d bytes, %v", len(received), len(sent), err)
	}
}

func TestAReadEndsWithItsConnection(t *testing.T) {
	_, b := connected(t)
	ended := make(chan error, 1)
	go func() {
		_, err := readerOf(b).Read(make([]byte, 1))
		ended <- err
	}()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}
