//go:build linux

package socket

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestASocketThatWasClosedDoesNotEndTheProcess(t *testing.T) {
	a, b := pair(t)
	defer unix.Close(a)
	if err := unix.Close(b); err != nil {
		t.Fatal(err)
	}
	if _, err := Send(a, []byte("late")); !errors.Is(err, unix.EPIPE) {
		t.Fatal(err)
	}
}

func TestReadyTellsWhatHasCome(t *testing.T) {
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, b, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(b)}); err != nil {
		t.Fatal(err)
	}
	events := make([]unix.EpollEvent, 4)
	if n, err := Ready(epoll, events); n != 0 || err != nil {
		t.Fatalf("before anything has come: %d, %v", n, err)
	}
	if _, err := Send(a, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := Ready(epoll, events); n != 1 || err != nil || events[0].Fd != int32(b) {
		t.Fatalf("%d, %v, %v", n, err, events[0])
	}
}
