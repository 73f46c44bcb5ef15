package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a server process under measurement.
type child struct {
	cmd     *exec.Cmd
	address string
}

// startChild runs this binary with a subcommand that logs or prints its URL when it is ready.
func startChild(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, args...)
	out, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1) // closed when the output ends
	go func() {
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var entry struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "rollcall is ready" {
				ready <- strings.TrimPrefix(entry.URL, "http://")
			}
		}
	}()
	select {
	case address, ok := <-ready:
		if !ok {
			return nil, fmt.Errorf("%s ended at its start: %w", strings.Join(args, " "), c.Wait())
		}
		return &child{c, address}, nil
	case <-time.After(5 * time.Minute):
		return nil, errors.Join(errors.New("the server does not get ready"), c.Process.Kill())
	}
}

func startRegistry(ctx context.Context, data string, args ...string) (*child, error) {
	return startChild(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data, "--log-format", "json"}, args...)...)
}

func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// use is the processor time that the process uses while do runs, as far as the system says. A nil child is
// a process that is not ours.
func (c *child) use(do func() error) (time.Duration, error) {
	if c == nil {
		return 0, do()
	}
	before, _ := c.cpu()
	err := do()
	after, _ := c.cpu()
	return after - before, err
}

// rest waits until the process has done what a load left it to do, compactions above all, but no longer than
// a while: a figure should be of its own load.
func (c *child) rest(atMost time.Duration) {
	const look = 100 * time.Millisecond
	for end := time.Now().Add(atMost); c != nil && time.Now().Before(end); {
		used, err := c.use(func() error { time.Sleep(look); return nil })
		if err != nil || used <= look/20 {
			return
		}
	}
}

// cpu is the processor time that the process has used; ok is false where the system does not say.
func (c *child) cpu() (time.Duration, bool) { return cpuOf(c.cmd.Process.Pid) }

// ownCPU is the processor time that this process, the client, has used; 0 where the system does not say.
func ownCPU() time.Duration {
	used, _ := cpuOf(os.Getpid())
	return used
}

func cpuOf(pid int) (time.Duration, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick, err1 == nil && err2 == nil
}

// resident is the process's memory in bytes.
func (c *child) resident() (int64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, false
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		return 0, false
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10, err == nil
}

// metric is the value of one of the server's metrics.
func metric(address, name string) (float64, bool) {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			return v, err == nil
		}
	}
	return 0, false
}
