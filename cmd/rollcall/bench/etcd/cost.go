package main

import (
	"fmt"
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
	writes   float64       // calls of write, to files and connections
	written  float64       // bytes of them
}

// cost is what the three have used.
func (t *three) cost() (sum cost) {
	for _, p := range t.processes {
		folder := filepath.Join("/proc", fmt.Sprint(p.Process.Pid))
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
	return sum
}

// per is the cost of one of n operations, of which the processes had used another cost before.
func (c cost) per(n int, before cost) cost {
	f := float64(n)
	return cost{
		(c.cpu - before.cpu) / time.Duration(n), (c.switches - before.switches) / f, (c.writes - before.writes) / f, (c.written - before.written) / f,
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
