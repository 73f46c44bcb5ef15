//go:build linux

package lane

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// Limits of a loop.
const (
	serverBuffer = 4 << 10              // bytes of the HTTP server's buffer at most
	roundEvents  = 128                  // requests of one round at most
	turnTimeout  = 5 * time.Millisecond // how long the loop waits for the rounds under way before it begins one more
	sweepEvery   = deadlineSlack        // how often the loop looks for connections without requests
)

// loop reads the heartbeats and the registrations of many connections, and carries out by one call of a Batch what came at the same time. A
// connection whose goroutine reads each of them costs three switches of goroutines and a read that finds nothing, for each.
//
// One goroutine, run, reads (readiness by epoll). What it has read at once is a round. Each round has a goroutine, which waits for the
// commit and writes the replies, while run reads the next round. run and the loop end when the last connection leaves.
//
// A member is a connection in the loop. Its goroutine, that of the HTTP server, waits in join until the loop hands the connection back:
// at any other request, at the end of the connection, and when a reply cannot be written at once.
//
// INVARIANT: a member that is in flight belongs to run or to the goroutine of its round, an idle member to nobody. Whoever sets flight
// from idle to inFlight owns the member's fields, its conn and its descriptor, until it sets flight to idle or hands the member back.
type loop struct {
	lane    *Lane
	epoll   int      // the descriptor; run closes it
	file    *os.File // of epoll: the runtime waits for it as for a connection
	raw     syscall.RawConn
	ready   []unix.EpollEvent // only run uses it
	scratch []byte            // what run reads; as long as the servers' buffers
	turns   chan struct{}     // holds a token for each round under way, but for those that did not get one in time

	rounds  sync.Pool         // of *round
	members map[int32]*member // by descriptor; guarded by lane.joining
}

// enter adds a member to the lane's loop, which begins with its first member.
func (l *Lane) enter(m *member) (*loop, error) {
	l.joining.Lock()
	defer l.joining.Unlock()
	if l.loop == nil {
		made, err := newLoop(l)
		if err != nil {
			return nil, err
		}
		l.loop = made
		go made.run()
	}
	l.loop.members[int32(m.fd)] = m
	return l.loop, nil
}

func newLoop(lane *Lane) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile has the runtime wait for it only then
		return nil, errors.Join(err, unix.Close(fd))
	}
	l := &loop{
		scratch: make([]byte, serverBuffer), lane: lane, epoll: fd, file: os.NewFile(uintptr(fd), "epoll"),
		ready: make([]unix.EpollEvent, roundEvents), turns: make(chan struct{}, cmp.Or(lane.options.Batches, roundsAtOnce())), members: map[int32]*member{},
	}
	l.rounds.New = func() any { return &round{loop: l, batch: lane.options.Batch()} }
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = l.file.SetReadDeadline(time.Now().Add(sweepEvery)) // an error where the runtime cannot wait for it
	}
	if err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

// roundsAtOnce is how many rounds are under way at once, with the one that is being read, where nothing else is asked for. Few rounds are
// large ones, which cost less for each request.
func roundsAtOnce() int { return max(2, runtime.GOMAXPROCS(0)) }

// run reads requests until the last member has left.
func (l *loop) run() {
	defer l.file.Close()
	for {
		turn := l.turn()
		n, err := l.wait()
		if err != nil {
			if turn {
				<-l.turns
			}
			if l.over() {
				return
			}
			l.sweep(time.Now())
			continue
		}
		r := l.rounds.Get().(*round)
		r.began, r.turn = time.Now(), turn
		l.read(r, l.ready[:n])
		if len(r.members) > 0 {
			go r.carryOut()
		} else {
			r.end()
		}
	}
}

// turn waits for a turn, for turnTimeout at most: a store that does not answer must not hold up other requests.
func (l *loop) turn() bool {
	select {
	case l.turns <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(turnTimeout)
	defer timer.Stop()
	select {
	case l.turns <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// wait waits for events. The error is that of the deadline.
func (l *loop) wait() (n int, err error) {
	waitErr := l.raw.Read(func(fd uintptr) bool {
		n, err = socket.Ready(int(fd), l.ready)
		return n > 0 || err == unix.EINTR
	})
	return max(n, 0), waitErr
}

// over says whether the last member has left. Then the loop is the lane's no more.
func (l *loop) over() bool {
	l.lane.joining.Lock()
	defer l.lane.joining.Unlock()
	if len(l.members) > 0 {
		_ = l.file.SetReadDeadline(time.Now().Add(sweepEvery))
		return false
	}
	l.lane.loop = nil
	return true
}

// sweep hands back the members that sent nothing for idleTimeout.
func (l *loop) sweep(now time.Time) {
	var all []*member
	l.lane.joining.Lock()
	for _, m := range l.members {
		all = append(all, m)
	}
	l.lane.joining.Unlock()
	for _, m := range all {
		if !m.flight.CompareAndSwap(idle, inFlight) {
			continue
		}
		if now.Sub(m.heard) >= idleTimeout {
			m.handBack(handback{})
		} else {
			m.release()
		}
	}
}

// read reads the requests of the members that are ready.
func (l *loop) read(r *round, events []unix.EpollEvent) {
	l.lane.joining.Lock()
	for _, e := range events {
		if m := l.members[e.Fd]; m != nil {
			r.ready = append(r.ready, readyMember{m, e.Events})
		}
	}
	l.lane.joining.Unlock()
	for _, ready := range r.ready {
		if ready.take() {
			r.read(ready.member, ready.events&^unix.EPOLLIN != 0)
		}
	}
}

type readyMember struct {
	*member
	events uint32
}
