package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// drawEvery is the shortest time between two drawings of a screen.
const drawEvery = 50 * time.Millisecond

// watchOnTerminal shows a table until the context ends, q is typed, or the stream is refused.
func watchOnTerminal(parent context.Context, out *os.File, shown *watchTable, registry *client.Client, query client.FollowQuery) error {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGHUP, syscall.SIGQUIT) // main knows of the others
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	s, err := openScreen(os.Stdin, out)
	if err != nil {
		cancel()
		return err
	}
	var readers sync.WaitGroup
	defer s.close()
	defer readers.Wait()
	defer cancel()
	updates := make(chan client.Update) // unbuffered; the follower gives up when the context ends
	ended := make(chan error, 1)        // gets why the stream ended; nil: the context did
	lost := make(chan error, 1)         // the newest is enough: it replaces one that waits. nil: the connection is there
	query.Lost = func(err error) {      // one goroutine calls it
		select {
		case <-lost:
		default:
		}
		lost <- err
	}
	query.Current = func() { query.Lost(nil) }
	readers.Go(func() {
		defer s.closeOnPanic()
		ended <- follow(ctx, registry, query, updates)
	})
	keys := make(chan key) // unbuffered
	readers.Go(func() {
		defer s.closeOnPanic()
		readKeys(ctx, s.in, keys)
	})
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	jobs := watchJobs()
	defer jobs.end()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	stale := false // the screen does not show the newest state
	for {
		select {
		case u := <-updates:
			shown.update(&u)
			stale = true
		case shown.lost = <-lost:
			stale = true
		case k := <-keys:
			switch k {
			case keyQuit:
				return nil
			case keySuspend:
				jobs.ask()
				continue
			}
			shown.scroll(k)
			stale = true
		case <-jobs.stop:
			s.leave()
			jobs.pause()
			if err := s.enter(); err != nil {
				return err
			}
			stale = true
		case <-jobs.continued: // it was stopped by SIGSTOP, which cannot be seen
			if err := s.enter(); err != nil {
				return err
			}
			stale = true
		case <-resized:
			s.forget()
			stale = true
		case <-tick.C:
			if !stale {
				continue
			}
			stale = false
			if err := s.draw(shown, time.Now()); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func follow(ctx context.Context, registry *client.Client, query client.FollowQuery, updates chan<- client.Update) error {
	for u, err := range registry.Follow(ctx, query) {
		if err != nil {
			return err
		}
		select {
		case updates <- u:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// screen is a terminal that a program has for itself. close gives the terminal back as it was, whatever happened.
type screen struct {
	in    *os.File // keys; nil: standard input is no terminal
	out   io.Writer
	size  func() (width, height int)
	drawn []string // lines that the terminal shows; nil: not known

	once   sync.Once
	before *term.State
}

func openScreen(in, out *os.File) (*screen, error) {
	s := &screen{out: out, size: func() (width, height int) {
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil || width == 0 || height == 0 {
			return 80, 24
		}
		return width, height
	}}
	if term.IsTerminal(int(in.Fd())) {
		before, err := term.GetState(int(in.Fd()))
		if err != nil {
			return nil, err
		}
		s.in, s.before = in, before
	}
	err := s.enter()
	if err != nil {
		s.close()
	}
	return s, err
}

// enter takes the terminal: keys come one by one, and the other screen is shown, without a cursor and with nothing on it.
func (s *screen) enter() error {
	s.forget()
	if s.in != nil {
		if _, err := term.MakeRaw(int(s.in.Fd())); err != nil {
			return err
		}
	}
	_, err := io.WriteString(s.out, "\x1b[?1049h\x1b[?25l\x1b[2J")
	return err
}

// leave gives the terminal back.
func (s *screen) leave() {
	_, _ = io.WriteString(s.out, "\x1b[0m\x1b[?25h\x1b[?1049l")
	if s.in != nil {
		_ = term.Restore(int(s.in.Fd()), s.before)
	}
}

// close may be called again.
func (s *screen) close() { s.once.Do(s.leave) }

// closeOnPanic is deferred by goroutines, whose panics end the process before the owner of the screen closes it.
func (s *screen) closeOnPanic() {
	if r := recover(); r != nil {
		s.close()
		panic(r)
	}
}

// forget has the next drawing draw everything.
func (s *screen) forget() { s.drawn = nil }

// draw writes the lines that differ from what the terminal shows.
func (s *screen) draw(shown *watchTable, now time.Time) error {
	width, height := s.size()
	lines := shown.lines(height, now)
	var b strings.Builder
	if s.drawn == nil {
		b.WriteString("\x1b[2J")
	}
	for i := range max(len(lines), len(s.drawn)) {
		line, old := "", ""
		if i < len(lines) {
			lines[i] = fit(lines[i], width)
			line = lines[i]
		}
		if i < len(s.drawn) {
			old = s.drawn[i]
		}
		if line != old {
			fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[K", i+1, line)
		}
	}
	s.drawn = lines
	_, err := io.WriteString(s.out, b.String())
	return err
}

// fit cuts a line to a width, and leaves out the ends of lines and tabs. Colours stay, and misleading characters are written visibly.
func fit(line string, width int) string {
	line = visible(line)
	var b strings.Builder
	used, coloured := 0, false
	for line != "" {
		if strings.HasPrefix(line, "\x1b[") {
			if end := strings.IndexByte(line, 'm'); end > 0 && strings.Trim(line[2:end], "0123456789;") == "" {
				b.WriteString(line[:end+1])
				line, coloured = line[end+1:], true
				continue
			}
		}
		cluster, rest, w, _ := uniseg.FirstGraphemeClusterInString(line, -1)
		line = rest
		if cluster[0] < ' ' || cluster[0] == 0x7f {
			continue
		}
		if used+w > width {
			break
		}
		used += w
		b.WriteString(cluster)
	}
	if coloured {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// key is a key that watch knows.
type key int

const (
	keyQuit key = iota + 1
	keyUp
	keyDown
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
	keySuspend
)

var keyNames = map[string]key{
	"q": keyQuit, "Q": keyQuit, "\x03": keyQuit, "\x04": keyQuit, "\x1a": keySuspend,
	"k": keyUp, "\x1b[A": keyUp, "\x1bOA": keyUp, "j": keyDown, "\x1b[B": keyDown, "\x1bOB": keyDown,
	"b": keyPageUp, "\x1b[5~": keyPageUp, " ": keyPageDown, "\x1b[6~": keyPageDown,
	"g": keyHome, "\x1b[H": keyHome, "\x1b[1~": keyHome, "G": keyEnd, "\x1b[F": keyEnd, "\x1b[4~": keyEnd,
}

// keyPoll is how often the reader of keys looks whether the context has ended: a read of a terminal cannot be interrupted.
const keyPoll = 100 * time.Millisecond

// readKeys sends the keys that are typed until the context ends. A terminal that is gone is told as keyQuit. in may be nil.
func readKeys(ctx context.Context, in *os.File, keys chan<- key) {
	if in == nil {
		return
	}
	send := func(k key) {
		select {
		case keys <- k:
		case <-ctx.Done():
		}
	}
	buffer := make([]byte, 64)
	for ctx.Err() == nil {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}, int(keyPoll.Milliseconds()))
		if err == unix.EINTR || err == nil && ready == 0 {
			continue
		}
		n, err := in.Read(buffer)
		if err != nil || n == 0 {
			send(keyQuit)
			return
		}
		for typed := string(buffer[:n]); typed != ""; {
			length := 1
			for name := range keyNames {
				if strings.HasPrefix(typed, name) {
					length = max(length, len(name))
				}
			}
			if k := keyNames[typed[:length]]; k != 0 {
				send(k)
			}
			typed = typed[length:]
		}
	}
}
