package main

import (
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// shownOn is `rollcall watch` on a pseudo terminal.
type shownOn struct {
	*exec.Cmd
	t      *testing.T
	master *os.File
	tty    *os.File
	seen   terminal
	before *term.State
}

func watchOn(t *testing.T, url string, how *syscall.SysProcAttr) *shownOn {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	w := &shownOn{t: t, Cmd: exec.Command(path, "watch", "web", "--url", url)}
	if w.master, w.tty, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.master.Close(); w.tty.Close() })
	if err := pty.Setsize(w.master, &pty.Winsize{Rows: 20, Cols: 70}); err != nil {
		t.Fatal(err)
	}
	if w.before, err = term.GetState(int(w.tty.Fd())); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(&w.seen, w.master) }()
	w.Stdin, w.Stdout, w.Stderr, w.SysProcAttr = w.tty, w.tty, w.tty, how
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Process.Kill() })
	return w
}

// waits waits for something that the process does.
func (w *shownOn) waits(what string, until func() bool) {
	w.t.Helper()
	for began := time.Now(); !until(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			w.t.Fatalf("%s does not come; the terminal shows %q", what, w.seen.text())
		}
	}
}

func (w *shownOn) types(keys string) {
	w.t.Helper()
	if _, err := w.master.WriteString(keys); err != nil {
		w.t.Fatal(err)
	}
}

// stopped waits until the process stands still.
func (w *shownOn) stopped() {
	w.t.Helper()
	w.waits("the stop", func() bool {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(w.Process.Pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
		if err != nil || pid != 0 && !status.Stopped() {
			w.t.Fatalf("it has %v, %v", status, err)
		}
		return pid != 0
	})
}

// entered counts how often the process took the terminal.
func (w *shownOn) entered() int { return strings.Count(w.seen.text(), "\x1b[?1049h") }

func (w *shownOn) ends() {
	w.t.Helper()
	w.types("q")
	if err := w.Wait(); err != nil {
		w.t.Errorf("it ends with %v", err)
	}
	if after, err := term.GetState(int(w.tty.Fd())); err != nil || !reflect.DeepEqual(after, w.before) {
		w.t.Errorf("the terminal is %+v, %v, and was %+v", after, err, w.before)
	}
}

// A watch that is stopped gives the terminal back, and shows the newest state when it goes on, however it was stopped.
func TestWatchIsStoppedAndGoesOn(t *testing.T) {
	t.Parallel()
	p := startServer(t, t.TempDir())
	put := func(id string) {
		t.Helper()
		if status, b, err := p.send("PUT", "/v1/services/web/instances/"+id, `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	put("first")
	for name, stop := range map[string]struct {
		stop      func(w *shownOn)
		givesBack bool
	}{
		"ctrl-z":  {func(w *shownOn) { w.types("\x1a") }, true},
		"sigtstp": {func(w *shownOn) { _ = w.Process.Signal(syscall.SIGTSTP) }, true},
		"sigstop": {func(w *shownOn) { _ = w.Process.Signal(syscall.SIGSTOP) }, false}, // which no process sees
	} {
		t.Run(name, func(t *testing.T) {
			w := watchOn(t, p.url, &syscall.SysProcAttr{Setpgid: true}) // as a shell starts it: a group of its own
			w.waits("the first drawing", func() bool { return strings.Contains(w.seen.text(), "web/first") })
			for _, id := range []string{name + "-1", name + "-2"} { // it can be stopped again
				entered := w.entered()
				stop.stop(w)
				w.stopped()
				if stop.givesBack {
					w.waits("the end of the other screen", func() bool { return strings.HasSuffix(w.seen.text(), "\x1b[?25h\x1b[?1049l") })
					if now, err := term.GetState(int(w.tty.Fd())); err != nil || !reflect.DeepEqual(now, w.before) {
						t.Errorf("the stopped program leaves the terminal as %+v, %v; it was %+v", now, err, w.before)
					}
				}
				put(id)
				if err := w.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				w.waits("the other screen", func() bool { return w.entered() > entered })
				w.waits("what happened meanwhile", func() bool {
					shown := w.seen.text()
					return strings.Contains(shown[strings.LastIndex(shown, "\x1b[?1049h"):], "web/"+id)
				})
			}
			w.ends()
		})
	}
}

// Where no shell could continue a stopped program, Ctrl-Z stops nothing.
func TestWatchGoesOnWhereNobodyCouldContinueIt(t *testing.T) {
	t.Parallel()
	p := startServer(t, t.TempDir())
	w := watchOn(t, p.url, &syscall.SysProcAttr{Setsid: true})
	w.waits("the first drawing", func() bool { return strings.Contains(w.seen.text(), "0 instances") })
	w.types("\x1a")
	w.ends()
	if n := w.entered(); n != 1 {
		t.Errorf("it took the terminal %d times", n)
	}
}
