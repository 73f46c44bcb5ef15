package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rivo/uniseg"
	"golang.org/x/term"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func watched(id string) wire.Instance {
	i := wire.Instance{Namespace: "default", Service: "web", ID: id}
	i.Address, i.Status, i.Traffic = "10.0.0.5", domain.Passing, domain.Serving
	return i
}

var watchedAt = time.Date(2026, 3, 1, 3, 12, 0, 0, time.UTC)

// rowsOf are the ids of the instances in lines.
func rowsOf(lines []string) (ids []string) {
	for _, line := range lines {
		if id, ok := strings.CutPrefix(line, "default/web/"); ok {
			ids = append(ids, strings.Fields(id)[0])
		}
	}
	return ids
}

// The table shows every kind of update as what it is: a cut takes nothing away, a reset replaces all.
func TestTheWatchTableFollowsEveryKindOfUpdate(t *testing.T) {
	w := newWatchTable("web", false)
	b := watched("b")
	for _, step := range []struct {
		update client.Update
		want   string
	}{
		{client.Update{Kind: wire.StreamSnapshot, Instances: []wire.Instance{watched("a")}}, "a"},
		{client.Update{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Put, Namespace: "default", Service: "web", ID: "b", Summary: "registered", Instance: &b}}, "a b"},
		{client.Update{Kind: wire.StreamCut, Reason: "too slow"}, "a b"},
		{client.Update{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Delete, Namespace: "default", Service: "web", ID: "a", Summary: "deregistered"}}, "b"},
		{client.Update{Kind: wire.StreamReset, Instances: []wire.Instance{watched("c"), watched("d")}}, "c d"},
	} {
		w.update(&step.update)
		if got := strings.Join(rowsOf(w.lines(24, watchedAt)), " "); got != step.want {
			t.Errorf("after a %s it shows %s, want %s", step.update.Kind, got, step.want)
		}
	}
	w.lost = errors.New("no answer from the registry")
	if all := strings.Join(w.lines(24, watchedAt), "\n"); !strings.Contains(all, "no answer from the registry; trying again") {
		t.Errorf("it does not say that the connection is lost:\n%s", all)
	}
}

// Every time that the table shows is one that --at takes.
func TestTheTimesOfTheWatchTableAreMoments(t *testing.T) {
	w := newWatchTable("web", false)
	w.update(&client.Update{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Delete, Namespace: "default", Service: "web", ID: "a", RecordedAt: watchedAt.Add(-time.Minute)}})
	lines := w.lines(24, watchedAt)
	for _, line := range []string{lines[0], lines[len(lines)-1]} {
		at, err := parseWhen(line[:len(stampLayout)], watchedAt)
		if err != nil || !strings.HasPrefix(string(at), "2026-03-01T03:1") {
			t.Errorf("%q begins with %q, %v", line, at, err)
		}
	}
}

// manyWatched is a table of n instances with names that are wider than some terminals.
func manyWatched(n int) *watchTable {
	w := newWatchTable("web", true)
	var all []wire.Instance
	for i := range n {
		all = append(all, watched(fmt.Sprintf("%03d-%s", i, strings.Repeat("日本", 20))))
	}
	w.update(&client.Update{Kind: wire.StreamSnapshot, Instances: all})
	for i := range newsLines {
		w.update(&client.Update{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Delete, Namespace: "default", Service: "web", ID: fmt.Sprint(i), Summary: "a\x1b[2J\rb" + strings.Repeat("x", 200)}})
	}
	return w
}

func TestTheWatchTableFitsEveryTerminal(t *testing.T) {
	for _, size := range []struct{ width, height int }{{80, 24}, {20, 5}, {200, 60}, {1, 1}, {40, 12}} {
		var out bytes.Buffer
		s := &screen{out: &out, size: func() (int, int) { return size.width, size.height }}
		if err := s.draw(manyWatched(100), watchedAt); err != nil {
			t.Fatal(err)
		}
		if len(s.drawn) > size.height {
			t.Errorf("%d lines on a terminal of %d", len(s.drawn), size.height)
		}
		for _, line := range s.drawn {
			plain := strings.NewReplacer("\x1b[32m", "", "\x1b[7m", "", "\x1b[0m", "").Replace(line)
			if uniseg.StringWidth(plain) > size.width || strings.ContainsAny(plain, "\r\n\x1b") && size.width > 3 {
				t.Errorf("a line of a terminal of %d: %q", size.width, line)
			}
		}
	}
}

func TestTheWatchTableScrolls(t *testing.T) {
	w := manyWatched(100)
	first := func() string { return rowsOf(w.lines(24, watchedAt))[0][:3] }
	page := len(rowsOf(w.lines(24, watchedAt)))
	if page != 12 { // 24 without 8 changes, the title, the state, the header and the line above the changes
		t.Errorf("%d instances on 24 lines", page)
	}
	for _, step := range []struct {
		key  key
		want string
	}{{keyUp, "000"}, {keyDown, "001"}, {keyPageDown, "013"}, {keyUp, "012"}, {keyPageUp, "000"}, {keyEnd, "088"}, {keyPageDown, "088"}, {keyHome, "000"}} {
		w.scroll(step.key)
		if got := first(); got != step.want {
			t.Errorf("after key %d it begins with %s, want %s", step.key, got, step.want)
		}
	}
	if title := w.lines(24, watchedAt)[0]; !strings.Contains(title, "100 instances, 1-12 shown") {
		t.Errorf("the title is %q", title)
	}
}

func TestTheWatchScreenRedrawsOnlyWhatChanged(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, size: func() (int, int) { return 80, 24 }}
	w := newWatchTable("web", false)
	w.update(&client.Update{Kind: wire.StreamSnapshot, Instances: []wire.Instance{watched("a"), watched("b"), watched("c")}})
	draw := func() string {
		out.Reset()
		if err := s.draw(w, watchedAt); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if all := draw(); !strings.Contains(all, "web/a") || !strings.Contains(all, "web/c") {
		t.Fatalf("the first drawing lacks instances: %q", all)
	}
	if again := draw(); again != "" {
		t.Errorf("nothing changed, and it draws %q", again)
	}
	b := watched("b")
	b.Status = domain.Warning
	w.instances[b.Key()] = b
	if changed := draw(); !strings.HasPrefix(changed, "\x1b[5;1Hdefault/web/b ") || strings.Count(changed, "\x1b[K") != 1 {
		t.Errorf("b changed, and it draws %q", changed)
	}
	s.forget()
	if all := draw(); !strings.Contains(all, "web/a") || !strings.HasPrefix(all, "\x1b[2J") {
		t.Errorf("after a change of the size it draws %q", all)
	}
}

func TestKeysAreReadWhole(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	keys := make(chan key)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go readKeys(ctx, r, keys)
	if _, err := io.WriteString(w, "j\x1b[A\x1b[6~x\x1b[Hq"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	var got []key
	for range 6 {
		got = append(got, <-keys)
	}
	if want := []key{keyDown, keyUp, keyPageDown, keyHome, keyQuit, keyQuit}; !reflect.DeepEqual(got, want) { // the end of the input ends watch, too
		t.Errorf("read %v, want %v", got, want)
	}
}

// terminal collects what a program writes to a pseudo terminal.
type terminal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// On a terminal, watch draws, and gives the terminal back as it was, however it ends.
func TestWatchGivesTheTerminalBack(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := startServer(t, t.TempDir())
	for _, id := range []string{"a", "b"} {
		if status, b, err := p.send("PUT", "/v1/services/web/instances/"+id, `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	for name, end := range map[string]func(master *os.File, watch *os.Process) error{
		"q":       func(master *os.File, _ *os.Process) error { _, err := master.WriteString("q"); return err },
		"Ctrl-C":  func(master *os.File, _ *os.Process) error { _, err := master.WriteString("\x03"); return err },
		"SIGTERM": func(_ *os.File, watch *os.Process) error { return watch.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(_ *os.File, watch *os.Process) error { return watch.Signal(syscall.SIGHUP) },
		"SIGQUIT": func(_ *os.File, watch *os.Process) error { return watch.Signal(syscall.SIGQUIT) },
	} {
		master, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		defer tty.Close()
		if err := pty.Setsize(master, &pty.Winsize{Rows: 20, Cols: 70}); err != nil {
			t.Fatal(err)
		}
		before, err := term.GetState(int(tty.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		var seen terminal
		go func() { _, _ = io.Copy(&seen, master) }()
		c := exec.Command(path, "watch", "web", "--url", p.url)
		c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(seen.text(), "default/web/b"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				_ = c.Process.Kill()
				t.Fatalf("%s: it shows %q", name, seen.text())
			}
		}
		if err := end(master, c.Process); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%s: it ends with %v", name, err)
		}
		after, err := term.GetState(int(tty.Fd()))
		if err != nil || !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the terminal is %+v, %v, and was %+v", name, after, err, before)
		}
		for deadline := time.Now().Add(10 * time.Second); !strings.HasSuffix(seen.text(), "\x1b[?25h\x1b[?1049l"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: it ends with %q", name, seen.text())
			}
		}
	}
}

func TestAPanicGivesTheTerminalBack(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	func() {
		defer func() {
			if r := recover(); r != "broken" {
				t.Errorf("it panics with %v", r)
			}
		}()
		defer s.closeOnPanic()
		panic("broken")
	}()
	if !strings.HasSuffix(out.String(), "\x1b[?1049l") {
		t.Errorf("the terminal gets %q", out.String())
	}
}

func TestWatchPrintsPlainLinesWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	w := &lineWatcher{out: &out, remote: &commandLine{output: asTable}, title: "web in namespace default"}
	for _, u := range []client.Update{
		{Kind: wire.StreamSnapshot, Instances: []wire.Instance{watched("a")}},
		{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Delete, Namespace: "default", Service: "web", ID: "a", Summary: "deregistered: scaled\ndown", Actor: "bot", RecordedAt: watchedAt}},
		{Kind: wire.StreamReset},
		{Kind: wire.StreamCut, Reason: "too slow"},
	} {
		if err := w.update(&u); err != nil {
			t.Fatal(err)
		}
	}
	want := `web in namespace default: 1 instance
  default/web/a  10.0.0.5  passing  serving
2026-03-01 03:12:00.000Z  default/web/a  deregistered: scaled down (by bot)
web in namespace default: 0 instances, anew
the registry ended the stream: too slow; going on
`
	if out.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", out.String(), want)
	}
}
