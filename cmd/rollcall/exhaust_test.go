package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const exhaustMemory = 1 << 30 // bytes that the server may take under any attack

// attack is a load that is to exhaust the server, on a fleet of 20,000 or 40,000 instances.
type attack struct {
	name    string
	fleet   int
	prepare func(t *testing.T, p *process) (load func() string) // makes what the load needs, before heartbeats are measured beside it; nil: nothing
	run     func(t *testing.T, p *process) (answered string)    // the load; nil: prepare gives it
	// writes says that the attack appends events all the time. A heartbeat waits for the commit under way and for its own: it is
	// judged by what the disk takes for a commit meanwhile, where that is more than a heartbeat takes at rest.
	writes bool
}

var attacks = []attack{
	{name: "60 subscribers of the catalog that never read", fleet: 40_000, run: func(t *testing.T, p *process) string {
		unread(t, p, 60, "/v1/streams/catalog")
		time.Sleep(8 * time.Second)
		return ""
	}},
	{name: "300 clients that do not read a list of 8 MB", fleet: 20_000, run: func(t *testing.T, p *process) string {
		unread(t, p, 300, "/v1/services/fleet/instances")
		return lookups(p, 8*time.Second)
	}},
	{name: "300 clients that do not read the whole catalog", fleet: 20_000, run: func(t *testing.T, p *process) string {
		unread(t, p, 300, "/v1/catalog")
		return lookups(p, 8*time.Second)
	}},
	{name: "300 long polls with one filter, and one change", fleet: 20_000, run: func(t *testing.T, p *process) string {
		return polls(t, p, 300, func(int) string { return "zone=z1" })
	}},
	{name: "100 long polls with a filter each, and one change", fleet: 20_000, run: func(t *testing.T, p *process) string {
		return polls(t, p, 100, func(i int) string { return fmt.Sprint("zone=z", i) })
	}},
	{name: "600,000 ids that are registered and gone", fleet: 4_000, run: comeAndGo, writes: true},
	{name: "50,000 webhooks to which nothing is due", fleet: 4_000, prepare: idleWebhooks},
	{name: "1,500 webhooks at targets that never answer", fleet: 4_000, prepare: hangingWebhooks},
}

// Each load that is to exhaust the server finds it within its memory, and heartbeats within three times what they
// take at rest, or 9 ms, or where the load itself writes three times what the disk takes for a commit meanwhile. The system gives the server no more memory than that (RLIMIT_DATA), so that it cannot take more for a
// moment either.
func TestNoLoadExhaustsTheServer(t *testing.T) {
	if os.Getenv("ROLLCALL_TORTURE") == "" {
		t.Skip("make torture runs it: it takes minutes")
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			p := startCommand(t, limited(t, "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--log-format", "json", "--webhook-allow-private"))
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the server's log begins\n%.4000s", p.logs)
				}
			})
			populate(t, p, a.fleet)
			rest := beatFor(p, time.After(4*time.Second))
			load := func() string { return a.run(t, p) }
			if a.prepare != nil {
				load = a.prepare(t, p)
			}
			before := syncs(t, p)
			ended := make(chan time.Time)
			heard := make(chan []time.Duration, 1)
			go func() { heard <- beatFor(p, ended) }()
			answered := load()
			close(ended)
			under := <-heard
			memory := mostMemory(t, p)
			limit := max(p99(rest), 3*time.Millisecond)
			if a.writes {
				disk := syncs(t, p).since(before)
				limit = max(limit, disk)
				answered += fmt.Sprintf("; 99 of 100 commits were synced within %.1f ms", ms(disk))
			}
			t.Logf("| %s | %d MB | %.1f ms | %.1f ms | %s |", a.name, memory>>20, ms(p99(rest)), ms(p99(under)), answered)
			if memory > exhaustMemory {
				t.Errorf("the server took %d MB", memory>>20)
			}
			if p99(under) > 3*limit {
				t.Errorf("a heartbeat's p99 is %s, at rest %s, and three times %s at most", p99(under), p99(rest), limit)
			}
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("the server ended with %v", err)
			}
		})
	}
}

// synced counts the commits that the disk synced within a time, by that time.
type synced map[time.Duration]float64

var syncBucket = regexp.MustCompile(`(?m)^rollcall_append_sync_seconds_bucket\{le="([^"]+)"\} (\S+)$`)

// syncs are the commits since the server's start.
func syncs(t *testing.T, p *process) synced {
	t.Helper()
	_, body, err := p.send("GET", "/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	all := synced{}
	for _, bucket := range syncBucket.FindAllSubmatch(body, -1) {
		within, err := strconv.ParseFloat(string(bucket[1]), 64)
		count, errCount := strconv.ParseFloat(string(bucket[2]), 64)
		if err != nil || errCount != nil {
			t.Fatal(err, errCount)
		}
		all[time.Duration(min(within, 3600)*float64(time.Second))] = count
	}
	if len(all) == 0 {
		t.Fatal("there is no rollcall_append_sync_seconds")
	}
	return all
}

// since is within what time 99 of 100 commits were synced after an earlier look.
func (s synced) since(before synced) time.Duration {
	all := slices.Sorted(maps.Keys(s))
	longest := all[len(all)-1]
	for _, within := range all {
		if s[within]-before[within] >= 0.99*(s[longest]-before[longest]) {
			return within
		}
	}
	return longest
}

// limited is a server that gets no more memory than exhaustMemory from the system. Where a shell cannot limit that, GOMEMLIMIT
// alone holds.
func limited(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{path, "serve"}, args...)
	limit := fmt.Sprintf("ulimit -d %d", exhaustMemory>>10)
	if err := exec.Command("sh", "-c", limit).Run(); err == nil {
		args = append([]string{"sh", "-c", limit + ` && exec "$0" "$@"`}, args...)
	} else {
		t.Log("the system does not limit the memory of a process here: GOMEMLIMIT alone does")
	}
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), "GOMEMLIMIT=900MiB")
	return c
}

func populate(t *testing.T, p *process, fleet int) {
	t.Helper()
	for from := 0; from < fleet; from += 4000 {
		var items []json.RawMessage
		for i := from; i < from+4000; i++ {
			items = append(items, fmt.Appendf(nil, `{"type":"RegisterInstance","service":"fleet","id":"i%d","address":"10.0.0.5","ports":{"http":8080},"ttl":"1h","zone":"z%d","metadata":{"team":"payments","rack":"r%d"}}`, i, i%100, i))
		}
		body, err := json.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		if status, reply, err := p.send("POST", "/v1/commands", string(body)); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, reply, err)
		}
	}
}

// beatFor sends heartbeats at a steady pace, and gives how long each took.
func beatFor(p *process, until <-chan time.Time) (took []time.Duration) {
	for i := 0; ; i++ {
		select {
		case <-until:
			return took
		case <-time.After(5 * time.Millisecond):
		}
		began := time.Now()
		if status, _, err := p.send("PUT", fmt.Sprintf("/v1/services/fleet/instances/i%d/heartbeat", i%1000), ""); err != nil || status != 200 {
			p.t.Errorf("a heartbeat got %d, %v", status, err)
			return took
		}
		took = append(took, time.Since(began))
	}
}

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// unread asks from many connections and reads nothing until the test ends.
func unread(t *testing.T, p *process, clients int, path string) {
	t.Helper()
	for range clients {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, strings.TrimPrefix(p.url, "http://")); err != nil {
			t.Fatal(err)
		}
	}
}

// lookups asks for one service again and again, and says how long the slowest answer took.
func lookups(p *process, during time.Duration) string {
	slowest, n := time.Duration(0), 0
	for end := time.Now().Add(during); time.Now().Before(end); n++ {
		began := time.Now()
		if status, _, err := p.send("GET", "/v1/services/fleet/instances/i1", ""); err != nil || status != 200 {
			p.t.Errorf("a lookup got %d, %v", status, err)
			break
		}
		slowest = max(slowest, time.Since(began))
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Sprintf("%d lookups, the slowest took %.0f ms", n, ms(slowest))
}

// mostMemory is the most that the server has had resident (VmHWM).
func mostMemory(t *testing.T, p *process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Skip("the system does not say how much memory a process takes")
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
