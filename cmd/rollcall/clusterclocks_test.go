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

// clockEnv says by how many seconds the clock of a process is wrong, whose binary was built by shiftedBinary.
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
var wrongOnce struct {
	sync.Once
	by int64
}

func wrong() int64 {
	wrongOnce.Do(func() {
		text, _ := syscall.Getenv("` + clockEnv + `")
		negative := len(text) > 0 && text[0] == '-'
		for _, digit := range text {
			if digit >= '0' && digit <= '9' {
				wrongOnce.by = 10*wrongOnce.by + int64(digit-'0')
			}
		}
		if negative {
			wrongOnce.by = -wrongOnce.by
		}
	})
	return wrongOnce.by
}
`
	text = strings.Replace(text, "import (\n", "import (\n\t\"sync\"\n\t\"syscall\"\n", 1)
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

// The clocks of three nodes are minutes apart, and the lead moves from one to another, while clients write and read and leases are
// renewed. The time of an event is never before that of an earlier one, no instance that is renewed is expired, and each lease that is
// not renewed ends once, after its ttl.
func TestTheClocksOfAClusterAreMinutesApart(t *testing.T) {
	lasting := min(tortureLasts(t), time.Minute)
	binary := shiftedBinary(t)
	c := newTrio(t, nil)
	ids := []string{"n1", "n2", "n3"}
	wrong := map[string]time.Duration{"n1": 7 * time.Minute, "n2": 0, "n3": -11 * time.Minute}
	for id, n := range c.nodes {
		n.binary = binary
		n.within = []string{"env", fmt.Sprintf("%s=%d", clockEnv, int(wrong[id].Seconds()))}
		n.args = append(n.args, "--self-preservation=false") // as in torture
	}
	c.start(ids...)
	for id, by := range wrong {
		reply, err := c.nodes[id].clock()
		if err != nil || (reply-by).Abs() > 30*time.Second {
			t.Fatalf("the clock of %s is wrong by %s, not by %s: %v", id, reply, by, err)
		}
	}
	f := &victims{trio: c, ids: ids}
	f.begin()
	deadline := time.Now().Add(lasting)
	for n := 0; time.Now().Before(deadline) || n < 6; n++ {
		next := ids[n%3]
		c.until(next+" leads", func() error {
			if reply, err := c.client(ids...).MoveLead(t.Context(), next); err != nil || reply.Value.Leader != next {
				return fmt.Errorf("%v, %+v", err, reply.Value)
			}
			return nil
		})
		time.Sleep(lasting / 12)
		if n%2 == 0 {
			c.kill(next)
			c.start(next)
		}
	}
	f.end()
	var last time.Time
	times := 0
	for e, err := range c.client("n2").Events(t.Context(), client.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.RecordedAt.Before(last) {
			t.Errorf("event %d is of %s, one before it of %s", e.Position, e.RecordedAt, last)
		}
		if !last.IsZero() && e.RecordedAt.Sub(last) > time.Minute {
			times++
		}
		last = e.RecordedAt
	}
	t.Logf("the time of events went forward by more than a minute %d times; at the end it is wrong by %s", times, time.Until(last).Round(time.Second))
	f.judge()
}

// clock is by how much the clock of a node is wrong, as its answers tell.
func (n *trioNode) clock() (time.Duration, error) {
	response, err := transport.Get("http://" + n.listen + "/healthz")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	at, err := time.Parse(time.RFC1123, response.Header.Get("Date"))
	return time.Until(at), err
}
