package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cost is what processes have used since they started.
type cost struct {
	cpu      time.Duration // user and system time
	switches float64       // times a thread waited for something: a wake-up each
	writes   float64       // calls of write, to files and connections; a send is none, and Rollcall's nodes send to each other, and answer heartbeats
	written  float64       // bytes of them
	blocks   float64       // blocks of Rollcall's log
}

// cost is what the processes have used.
func (t *servers) cost() (sum cost) {
	for _, p := range t.processes {
		folder := filepath.Join("/proc", fmt.Sprint(p.Pid))
		stat, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil {
			continue
		}
		sum.cpu += processorTime(string(stat))
		io := fieldsOf(filepath.Join(folder, "io"))
		sum.writes += io["syscw"]
		sum.written += io["wchar"]
		threads, _ := filepath.Glob(filepath.Join(folder, "task", "*", "status"))
		for _, thread := range threads {
			sum.switches += fieldsOf(thread)["voluntary_ctxt_switches"]
		}
	}
	for _, u := range t.metrics {
		sum.blocks += blocksOf(u)
	}
	return sum
}

// blocksOf is how many blocks of a node of Rollcall were carried out.
func blocksOf(url string) (blocks float64) {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "rollcall_cluster_commit_seconds_count "); ok {
			blocks, _ = strconv.ParseFloat(value, 64)
		}
	}
	return blocks
}

// per is the cost of one of n operations, of which the processes had used another cost before.
func (c cost) per(n int, before cost) cost {
	f := float64(n)
	return cost{
		(c.cpu - before.cpu) / time.Duration(n), (c.switches - before.switches) / f, (c.writes - before.writes) / f, (c.written - before.written) / f,
		(c.blocks - before.blocks) / f,
	}
}

// processorTime reads user and system time from /proc/…/stat, in hundredths of a second.
func processorTime(stat string) time.Duration {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// fieldsOf reads a file of lines like "name: number".
func fieldsOf(path string) map[string]float64 {
	fields := map[string]float64{}
	content, _ := os.ReadFile(path) // a thread may have ended
	for line := range strings.Lines(string(content)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name], _ = strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return fields
}
