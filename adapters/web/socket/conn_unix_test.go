//go:build unix

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// connected is a Conn of a TCP connection, the connection, and the other end.
func connected(t *testing.T) (*Conn, net.Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), other.Close() })
	return Of(c), c, other.(*net.TCPConn)
}

func TestAConnWaitsForWhatItReads(t *testing.T) {
	c, _, other := connected(t)
	began := make(chan struct{})
	go func() {
		<-began
		_, _ = other.Write([]byte("late"))
		_ = other.CloseWrite()
	}()
	close(began)
	buffer := make([]byte, 64)
	if n, err := c.Read(buffer); err != nil || string(buffer[:n]) != "late" {
		t.Fatal(n, err)
	}
	if n, err := c.Read(buffer); n != 0 || err != io.EOF {
		t.Fatalf("at the end: %d, %v", n, err)
	}
}

func TestAConnWritesAllOfWhatItsSocketTakesInParts(t *testing.T) {
	c, _, other := connected(t)
	much := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(other)
		got <- all
	}()
	if n, err := c.Write(much); n != len(much) || err != nil {
		t.Fatal(n, err)
	}
	if err := c.tcp.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, much) {
		t.Fatal("other bytes have come")
	}
}

// net/http tells by these errors whether to answer.
func TestTheErrorsOfAConnAreThoseOfTheConnection(t *testing.T) {
	buffer := make([]byte, 64)
	var failure net.Error
	t.Run("a deadline of a read", func(t *testing.T) {
		c, conn, _ := connected(t)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		if _, err := c.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &failure) || !failure.Timeout() || !ofRead(err) {
			t.Fatal(err)
		}
	})
	t.Run("a deadline of a write that waits", func(t *testing.T) {
		c, conn, _ := connected(t)
		var sent int
		failed := make(chan error, 1)
		go func() {
			n, err := c.Write(make([]byte, 64<<20)) // more than the buffers of both ends
			sent = n
			failed <- err
		}()
		_ = conn.SetWriteDeadline(time.Unix(1, 0))
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || sent == 64<<20 {
			t.Fatal(sent, err)
		}
	})
	t.Run("a close", func(t *testing.T) {
		c, conn, _ := connected(t)
		_ = conn.Close()
		if _, err := c.Read(buffer); !errors.Is(err, net.ErrClosed) || !ofRead(err) {
			t.Fatal(err)
		}
		if _, err := c.Write(buffer); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
	t.Run("a reset by the other end", func(t *testing.T) {
		c, _, other := connected(t)
		_ = other.SetLinger(0)
		_ = other.Close()
		if _, err := c.Read(buffer); !errors.Is(err, syscall.ECONNRESET) || !ofRead(err) {
			t.Fatal(err)
		}
		if n, err := c.Write(buffer); n != 0 || !errors.Is(err, syscall.EPIPE) {
			t.Fatal(n, err)
		}
	})
}

func ofRead(err error) bool {
	var of *net.OpError
	return errors.As(err, &of) && of.Op == "read"
}

func TestOnlyTCPHasAConn(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Of(a) != nil {
		t.Fatal("a pipe has one")
	}
}

func TestAConnTakesNoMemoryForACall(t *testing.T) {
	c, _, other := connected(t)
	buffer := make([]byte, 64)
	text := []byte("heartbeat")
	if got := testing.AllocsPerRun(100, func() {
		if _, err := other.Write(text); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(text); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}
