//go:build unix

package socket

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is two sockets that are connected with each other and do not block.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	return fds[0], fds[1]
}

func TestASocketGivesWhatWasSentAndThenItsEnd(t *testing.T) {
	a, b := pair(t)
	defer unix.Close(b)
	buffer := make([]byte, 64)
	if _, err := Receive(b, buffer); !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("an empty socket: %v", err)
	}
	if n, err := Send(a, []byte("heartbeat")); n != 9 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := Receive(b, buffer); err != nil || string(buffer[:n]) != "heartbeat" {
		t.Fatal(n, err)
	}
	if err := unix.Close(a); err != nil {
		t.Fatal(err)
	}
	if n, err := Receive(b, buffer); n != 0 || err != nil {
		t.Fatalf("at the end: %d, %v", n, err)
	}
}

func TestASocketThatIsFullTakesAPart(t *testing.T) {
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	sent, much := 0, make([]byte, 1<<20)
	for {
		n, err := Send(a, much)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	received := 0
	for {
		n, err := Receive(b, much)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		received += n
	}
	if sent == 0 || received != sent {
		t.Fatalf("%d bytes were sent and %d received", sent, received)
	}
}
