package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// figure is one measured number.
type figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Floor  string  `json:"floor,omitempty"` // the name of what it is held against
	Ratio  float64 `json:"ratio,omitempty"` // to that; of times, how many times as long
	P50    float64 `json:"p50_ms,omitempty"`
	P99    float64 `json:"p99_ms,omitempty"`
	CPU    float64 `json:"server_cpu_us_per_op,omitempty"`
	Allocs float64 `json:"server_allocs_per_op,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// bench runs workloads and gathers figures.
type bench struct {
	ctx     context.Context
	out     io.Writer // figures as they come
	dir     string
	each    time.Duration // of a workload
	server  *child        // nil: at a URL, whose process is not ours
	floor   *child
	address string
	figures []figure
}

func benchCommand(remote *client) *cobra.Command {
	var quick, million bool
	var only []string
	var each time.Duration
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a server, and the machine's floor beside it",
		Long: `Runs workloads against a server of its own on a temporary folder, or against the one at --url, and in
the same run, with the same client, the floors: handlers that answer and do nothing, and a bare file that
is appended to and synced. Client and servers are processes of their own and share the machine.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&quick, "quick", false, "a short form of everything, in under a minute")
	c.Flags().StringSliceVar(&only, "only", nil, "just these workloads: "+strings.Join(workloadNames(), ", "))
	c.Flags().DurationVar(&each, "for", 4*time.Second, "how long each load goes on")
	c.Flags().BoolVar(&million, "million", false, "restart and memory with 1,000,000 instances, too")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		b := &bench{ctx: c.Context(), out: c.OutOrStdout(), each: each}
		if quick && !c.Flags().Changed("for") {
			b.each = 700 * time.Millisecond
		}
		if remote.output == "json" {
			b.out = io.Discard
		}
		if b.dir, err = os.MkdirTemp("", "rollcall-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
		if b.floor, err = startChild(c.Context(), "bench-floor"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ignoreExit(b.floor.stop())) }()
		if c.Flags().Changed("url") {
			b.address = strings.TrimPrefix(strings.TrimSuffix(remote.url, "/"), "http://")
		} else {
			if b.server, err = startRegistry(c.Context(), filepath.Join(b.dir, "data")); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, ignoreExit(b.server.stop())) }()
			b.address = b.server.address
		}
		if err := b.run(quick, million, only); err != nil {
			return err
		}
		if remote.output == "json" {
			return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"figures": b.figures})
		}
		return nil
	}
	return c
}

// ignoreExit drops the exit status of a child that was told to end.
func ignoreExit(err error) error {
	if errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}

// workload is a part of the benchmark.
type workload struct {
	name string
	run  func(*bench) error
	own  bool // needs a server of our own
}

func workloads(quick, million bool) []workload {
	restart := func(b *bench) error {
		sizes := []int{100_000}
		if quick {
			sizes = []int{20_000}
		}
		if million {
			sizes = append(sizes, 1_000_000)
		}
		for _, n := range sizes {
			if err := b.restart(n); err != nil {
				return err
			}
		}
		return nil
	}
	return []workload{
		{"floors", (*bench).floors, false},
		{"registrations", (*bench).registrations, false},
		{"heartbeats", (*bench).heartbeats, false},
		{"batches", (*bench).batches, false},
		{"lookups", (*bench).lookups, false},
		{"mixed", (*bench).mixed, false},
		{"delivery", (*bench).delivery, false},
		{"disk", (*bench).disk, true},
		{"replay", (*bench).replay, false},
		{"expiry", (*bench).expiry, true},
		{"restart", restart, true},
	}
}

func workloadNames() (names []string) {
	for _, w := range workloads(false, false) {
		names = append(names, w.name)
	}
	return names
}

func (b *bench) run(quick, million bool, only []string) error {
	for _, name := range only {
		if !slices.Contains(workloadNames(), name) {
			return usageError{fmt.Errorf("only must be of %s, not %q", strings.Join(workloadNames(), ", "), name)}
		}
	}
	fmt.Fprintf(b.out, "%-44s %14s %-12s %8s %9s %9s %9s %8s\n", "", "", "", "of floor", "p50 ms", "p99 ms", "cpu µs/op", "allocs")
	if err := b.registerFleet(); err != nil {
		return err
	}
	for _, w := range workloads(quick, million) {
		if w.own && b.server == nil || len(only) > 0 && !slices.Contains(only, w.name) {
			continue
		}
		if err := errors.Join(w.run(b), b.ctx.Err()); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

func (b *bench) add(f figure) {
	if f.Floor != "" {
		for _, floor := range b.figures {
			if floor.Name == f.Floor && floor.Value > 0 {
				f.Ratio = f.Value / floor.Value
			}
		}
	}
	b.figures = append(b.figures, f)
	cell := func(v float64, format string) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	fmt.Fprintf(b.out, "%-44s %14.1f %-12s %8s %9s %9s %9s %8s %s\n", f.Name, f.Value, f.Unit, cell(f.Ratio, "%.2f"), cell(f.P50, "%.2f"), cell(f.P99, "%.2f"), cell(f.CPU, "%.1f"), cell(f.Allocs, "%.1f"), f.Note)
}

// measure blasts a server and adds a figure; each request carries so many operations.
func (b *bench) measure(name, floor string, target *child, address string, connections, operations int, next func(connection, n int) []byte) error {
	var cpuBefore, cpuAfter time.Duration
	allocBefore, counted := allocations(address)
	if target != nil {
		cpuBefore, _ = target.cpu()
	}
	l, err := blast(address, connections, b.each, next)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f := figure{Name: name, Value: l.perSecond() * float64(operations), Unit: "/s", Floor: floor, P50: l.at(0.5).Seconds() * 1000, P99: l.at(0.99).Seconds() * 1000}
	done := float64(max(l.requests, 1) * operations)
	if target != nil {
		cpuAfter, _ = target.cpu()
		f.CPU = float64((cpuAfter - cpuBefore).Microseconds()) / done
	}
	if after, ok := allocations(address); ok && counted {
		f.Allocs = (after - allocBefore) / done
	}
	if l.refused > 0 {
		f.Note = fmt.Sprintf("%d refused", l.refused)
	}
	b.add(f)
	return nil
}

func (b *bench) floors() error {
	for _, connections := range []int{64, 256, 1024} {
		request := rawRequest("PUT", "/204", "")
		if err := b.measure(fmt.Sprintf("floor: bare 204, %d connections", connections), "", b.floor, b.floor.address, connections, 1, func(int, int) []byte { return request }); err != nil {
			return err
		}
	}
	request := rawRequest("GET", "/4k", "")
	if err := b.measure("floor: bare 4 KiB, 256 connections", "", b.floor, b.floor.address, 256, 1, func(int, int) []byte { return request }); err != nil {
		return err
	}
	for _, events := range []int{1, 100, 1000} {
		callers := 256
		if events > 1 {
			callers = 16
		}
		rate, err := fileLog(b.dir, callers, events, b.each)
		if err != nil {
			return err
		}
		b.add(figure{Name: fmt.Sprintf("floor: file log, %d × %d events", callers, events), Value: rate, Unit: "events/s"})
	}
	return nil
}

const benchFleet = 10_000 // instances that workloads touch

func benchPath(i int) string { return fmt.Sprintf("/v1/services/bench-%d/instances/i%d", i%500, i) }

func benchBody(i, version int) string {
	return fmt.Sprintf(`{"address":"10.0.%d.%d","ports":{"http":8080},"tags":["canary"],"metadata":{"team":"shop"},"zone":"eu-1a","version":"%d","ttl":"1h"}`, i/256%256, i%256, version)
}

func (b *bench) registrations() error {
	const connections = 64
	err := b.measure("registrations, new", "floor: bare 204, 64 connections", b.server, b.address, connections, 1, func(c, n int) []byte {
		i := n*connections + c
		return rawRequest("PUT", fmt.Sprintf("/v1/services/fresh-%d/instances/i%d", i%500, i), benchBody(i, 1))
	})
	if err != nil {
		return err
	}
	return b.measure("registrations, repeated", "floor: bare 204, 64 connections", b.server, b.address, connections, 1, func(c, n int) []byte {
		i := (n*connections + c) % benchFleet
		return rawRequest("PUT", benchPath(i), benchBody(i, 1))
	})
}

// registerFleet registers the instances that workloads touch, 20 a service.
func (b *bench) registerFleet() error {
	for i := range benchFleet {
		if err := b.put(benchPath(i), benchBody(i, 1)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) put(path, body string) error {
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPut, "http://"+b.address+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode >= 300 {
		err = errors.Join(err, fmt.Errorf("%s answered %s", path, resp.Status))
	}
	return errors.Join(err, resp.Body.Close())
}

func (b *bench) heartbeats() error {
	requests := make([][]byte, benchFleet)
	for i := range requests {
		requests[i] = rawRequest("PUT", benchPath(i)+"/heartbeat", "")
	}
	for _, connections := range []int{64, 256, 1024} {
		err := b.measure(fmt.Sprintf("heartbeats, %d connections", connections), fmt.Sprintf("floor: bare 204, %d connections", connections), b.server, b.address, connections, 1,
			func(c, n int) []byte { return requests[(n*connections+c)%benchFleet] })
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) batches() error {
	for _, size := range []int{100, 1000} {
		const connections = 16
		requests := make([][]byte, benchFleet/size)
		for j := range requests {
			keys := make([]string, size)
			for k := range keys {
				i := j*size + k
				keys[k] = fmt.Sprintf("bench-%d/i%d", i%500, i)
			}
			body, err := json.Marshal(keys)
			if err != nil {
				return err
			}
			requests[j] = rawRequest("POST", "/v1/heartbeats", string(body))
		}
		err := b.measure(fmt.Sprintf("heartbeats in batches of %d", size), fmt.Sprintf("floor: file log, 16 × %d events", size), b.server, b.address, connections, size,
			func(c, n int) []byte { return requests[(n*connections+c)%len(requests)] })
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) lookups() error {
	for i := range 1000 {
		if err := b.put(fmt.Sprintf("/v1/services/large/instances/i%d", i), benchBody(i, 1)); err != nil {
			return err
		}
	}
	const connections = 256
	for _, service := range []string{"bench-7", "large"} {
		path := "/v1/services/" + service + "/instances"
		resp, err := http.Get("http://" + b.address + path)
		if err != nil {
			return err
		}
		size, err := io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		plain, known := rawRequest("GET", path, ""), rawRequest("GET", path, "", "If-None-Match: "+resp.Header.Get("ETag"))
		instances := map[string]int{"bench-7": benchFleet / 500, "large": 1000}[service]
		floor := ""
		if service == "bench-7" {
			floor = "floor: bare 4 KiB, 256 connections"
		}
		if err := b.measure(fmt.Sprintf("lookup of %d instances (%d bytes)", instances, size), floor, b.server, b.address, connections, 1, func(int, int) []byte { return plain }); err != nil {
			return err
		}
		if err := b.measure(fmt.Sprintf("lookup of %d instances, unchanged", instances), "floor: bare 204, 256 connections", b.server, b.address, connections, 1, func(int, int) []byte { return known }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) mixed() error {
	return b.measure("mixed: 90 heartbeats, 9 lookups, 1 register", "floor: bare 204, 256 connections", b.server, b.address, 256, 1, func(c, n int) []byte {
		i := (n*257 + c*41) % benchFleet
		switch kind := (n + c) % 100; {
		case kind == 0:
			return rawRequest("PUT", benchPath(i), benchBody(i, n))
		case kind < 10:
			return rawRequest("GET", fmt.Sprintf("/v1/services/bench-%d/instances", i%500), "")
		}
		return rawRequest("PUT", benchPath(i)+"/heartbeat", "")
	})
}
