package bench

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// subscribe makes connections that subscribe to the service. One goroutine reads them all by epoll: the subscribers of a real service are
// as many machines, and those of this client share its processors with the server, so what they cost is to be as little as can be.
func (w *watched) subscribe(address string, subscribers int) error {
	c := &crowd{watched: w, ended: make(chan struct{})}
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	for range subscribers {
		if err = c.add(address); err != nil {
			break
		}
	}
	if err == nil {
		err = c.stopper()
	}
	if err != nil {
		close(c.ended)
		c.close()
		return err
	}
	w.end = c.stop
	go c.read()
	return nil
}

// crowd are the connections of subscribers. Only the goroutine of read uses it once that runs.
type crowd struct {
	watched *watched
	epoll   int
	fds     []int
	stopped [2]int        // a pipe, whose closed end ends read
	ended   chan struct{} // closed when read has ended
}

// add makes a connection. Its descriptor is the crowd's alone, so that the runtime does not wake for it, too.
func (c *crowd) add(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(rawRequest("GET", "/v1/streams/services/"+c.watched.service, "")); err != nil {
		return err
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var fd int
	var dupErr error
	if err := errors.Join(raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }), dupErr); err != nil {
		return err
	}
	c.fds = append(c.fds, fd)
	return c.watch(fd)
}

func (c *crowd) watch(fd int) error {
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (c *crowd) stopper() error {
	if err := unix.Pipe2(c.stopped[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	return c.watch(c.stopped[0])
}

func (c *crowd) stop() {
	_ = unix.Close(c.stopped[1])
	<-c.ended
	_ = unix.Close(c.stopped[0])
	c.close()
}

func (c *crowd) close() {
	<-c.ended
	for _, fd := range c.fds {
		_ = unix.Close(fd)
	}
	_ = unix.Close(c.epoll)
}

// read reads until stop is called or a subscriber ends. The descriptors do not block.
func (c *crowd) read() {
	defer close(c.ended)
	all := make(map[int32]*lines, len(c.fds))
	for _, fd := range c.fds {
		all[int32(fd)] = &lines{}
	}
	ready, buffer := make([]unix.EpollEvent, 128), make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(c.epoll, ready, -1)
		if err != nil && err != unix.EINTR {
			c.watched.fail(err)
			return
		}
		for _, e := range ready[:max(n, 0)] {
			of := all[e.Fd]
			if of == nil { // stop was called
				return
			}
			n, err := unix.Read(int(e.Fd), buffer)
			switch {
			case err == unix.EAGAIN || err == unix.EINTR:
				continue
			case err == nil && n == 0:
				err = io.EOF
			}
			if err != nil {
				c.watched.fail(err)
				return
			}
			c.watched.hear(time.Now(), of.events(buffer[:n]))
		}
	}
}
