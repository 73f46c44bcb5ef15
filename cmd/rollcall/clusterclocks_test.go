package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// clockEnv names a file with the number of seconds by which the clock of a process is wrong, whose binary was built by shiftedBinary. The
// process looks at it again every 20 ms, so the clock steps while it runs.
const clockEnv = "ROLLCALL_TEST_CLOCK"

// shiftedBinary builds a rollcall whose wall clock can be wrong: the compiler takes another version of the function time.Now of Go's
// own library. Nothing in rollcall is changed.
func shiftedBinary(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const before, after = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += wrong()\n"
	if strings.Count(string(source), before) != 1 {
		t.Skip("this version of Go has another time.Now")
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	text := strings.Replace(string(source), before, after, 1) + `
var wrongBy atomic.Int64

func wrong() int64 { return wrongBy.Load() }

func init() {
	lookAtClock()
	go func() {
		for {
			Sleep(20 * Millisecond)
			lookAtClock()
		}
	}()
}

func lookAtClock() {
	path, _ := syscall.Getenv("` + clockEnv + `")
	file, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var text [32]byte
	n, _ := syscall.Read(file, text[:])
	syscall.Close(file)
	var by int64
	for _, digit := range text[:max(n, 0)] {
		if digit >= '0' && digit <= '9' {
			by = 10*by + int64(digit-'0')
		}
	}
	if text[0] == '-' {
		by = -by
	}
	wrongBy.Store(by)
}
`
	text = strings.Replace(text, "import (\n", "import (\n\t\"sync/atomic\"\n\t\"syscall\"\n", 1)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err == nil {
		err = os.WriteFile(changed, []byte(text), 0o600)
	}
	if err == nil {
		err = os.WriteFile(overlay, replace, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	path, err := buildBinary(t.TempDir(), "-overlay", overlay)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shiftedTrio is three nodes whose clocks are wrong by what set says, from the start on or later.
func shiftedTrio(t *testing.T) (c *trio, set func(id string, by time.Duration)) {
	t.Helper()
	binary, dir := shiftedBinary(t), t.TempDir()
	c = newTrio(t, nil)
	for id, n := range c.nodes {
		n.binary = binary
		n.within = []string{"env", clockEnv + "=" + filepath.Join(dir, id)}
		n.args = append(n.args, "--self-preservation=false") // as in torture
	}
	return c, func(id string, by time.Duration) {
		path := filepath.Join(dir, id)
		err := os.WriteFile(path+".new", fmt.Append(nil, int(by.Seconds())), 0o600)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// moveLead has a node of a cluster lead.
func (c *trio) moveLead(to string, ids []string) {
	c.t.Helper()
	c.until(to+" leads", func() error {
		if reply, err := c.client(ids...).MoveLead(c.t.Context(), to); err != nil || reply.Value.Leader != to {
			return fmt.Errorf("%v, %+v", err, reply.Value)
		}
		return nil
	})
}

// The clocks of three nodes are minutes apart, and the lead moves from one to another, while clients write and read and leases are
// renewed. The time of an event is never before that of an earlier one, no instance that is renewed is expired, and each lease that is
// not renewed ends once, after its ttl.
func TestTheClocksOfAClusterAreMinutesApart(t *testing.T) {
	lasting := min(tortureLasts(t), time.Minute)
	c, set := shiftedTrio(t)
	ids := []string{"n1", "n2", "n3"}
	wrong := map[string]time.Duration{"n1": 7 * time.Minute, "n2": 0, "n3": -11 * time.Minute}
	for id, by := range wrong {
		set(id, by)
	}
	c.start(ids...)
	for id, by := range wrong {
		c.nodes[id].wrongBy(c, by)
	}
	f := &victims{trio: c, ids: ids}
	f.begin()
	deadline := time.Now().Add(lasting)
	for n := 0; time.Now().Before(deadline) || n < 6; n++ {
		next := ids[n%3]
		c.moveLead(next, ids)
		time.Sleep(lasting / 12)
		if n%2 == 0 {
			c.kill(next)
			c.start(next)
		}
	}
	f.end()
	f.judgeTimes(7 * time.Minute)
	f.judge()
}

// The clocks of three nodes step while they run, by seconds to days, one alone or all together, forward and back, and some are put right
// at once; the lead moves and nodes are killed meanwhile. The log stays what it is where clocks are apart.
func TestTheClocksOfAClusterStep(t *testing.T) {
	lasting := min(tortureLasts(t), time.Minute)
	c, set := shiftedTrio(t)
	ids := []string{"n1", "n2", "n3"}
	for _, id := range ids {
		set(id, 0)
	}
	c.start(ids...)
	f := &victims{trio: c, ids: ids}
	f.begin()
	rng := seeded(t)
	furthest := time.Duration(0)
	deadline := time.Now().Add(lasting)
	for n := 0; time.Now().Before(deadline) || n < 12; n++ {
		by := []time.Duration{2 * time.Second, time.Minute, time.Hour, 50 * time.Hour}[rng.IntN(4)]
		by = time.Duration(rng.Int64N(int64(2*by))) - by
		if rng.IntN(4) == 0 {
			by = 0
		}
		furthest = max(furthest, by)
		who := ids
		if rng.IntN(3) > 0 {
			who = ids[n%3 : n%3+1]
		}
		for _, id := range who {
			set(id, by)
		}
		wait := time.Duration(rng.Int64N(int64(lasting / 12)))
		if n%4 == 0 { // a time that is more than a minute away is taken when it stays for 10 s
			wait = 12 * time.Second
		}
		time.Sleep(wait)
		switch one := ids[rng.IntN(3)]; rng.IntN(6) {
		case 0:
			c.kill(one)
			c.start(one)
		case 1:
			c.moveLead(one, ids)
		case 2: // it was a slip
			for _, id := range who {
				set(id, 0)
			}
		}
	}
	f.end()
	f.judgeTimes(furthest)
	f.judge()
}

// judgeTimes reads the log: no event is of a time before that of an earlier one, nor of one that no clock showed.
func (f *victims) judgeTimes(furthest time.Duration) {
	t := f.t
	var last time.Time
	times := 0
	for e, err := range f.client(f.ids...).Events(t.Context(), client.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.RecordedAt.Before(last) {
			t.Errorf("event %d is of %s, one before it of %s", e.Position, e.RecordedAt, last)
		}
		if ahead := time.Until(e.RecordedAt); ahead > furthest+time.Second {
			t.Errorf("event %d is %s ahead, where no clock was ahead by more than %s", e.Position, ahead, furthest)
		}
		if !last.IsZero() && e.RecordedAt.Sub(last) > time.Minute {
			times++
		}
		last = e.RecordedAt
	}
	t.Logf("the time of events went forward by more than a minute %d times; at the end it is wrong by %s", times, time.Until(last).Round(time.Second))
}

// wrongBy fails the test unless the clock of a node is wrong by that much, as its answers tell.
func (n *trioNode) wrongBy(c *trio, by time.Duration) {
	c.t.Helper()
	response, err := transport.Get("http://" + n.listen + "/healthz")
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	at, err := time.Parse(time.RFC1123, response.Header.Get("Date"))
	if wrong := time.Until(at); err != nil || (wrong-by).Abs() > 30*time.Second {
		c.t.Fatalf("the clock of %s is wrong by %s, not by %s: %v", n.listen, wrong, by, err)
	}
}
