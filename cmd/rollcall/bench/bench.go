// Package bench measures a registry as its users see it: processes of their own, real connections, and
// in the same run the floor of the machine, so that a figure is a ratio and not a number alone.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// bench runs workloads and gathers figures.
type bench struct {
	ctx     context.Context
	out     io.Writer // figures as they come
	dir     string
	each    time.Duration // of a workload
	sizes   benchSizes
	server  *child // nil: at a URL, whose process is not ours
	floor   *child
	raw     *child // the floor without net/http
	address string
	suffix  string // of the names of figures
	noGoals bool   // the goals are of the embedded store
	figures []figure
}

// benchSizes is how much there is of what takes time to make.
type benchSizes struct {
	Restarts []int `json:"restart_instances"`
	Beating  int   `json:"restart_heartbeats_up_to"` // instances; as many heartbeat after a restart
	Changes  int   `json:"rebuilt_changes"`
	Events   []int `json:"grown_events"`
	Idle     int   `json:"idle_connections"`

	Checks        int           `json:"checks"` // that pass, each looked at every CheckEvery
	FailingChecks int           `json:"failing_checks"`
	CheckEvery    time.Duration `json:"check_every_ns"`
}

// UsageError is a mistake on the command line.
type UsageError struct{ error }

// Target is what the command line says of the server and of the output.
type Target struct {
	URL  string
	JSON bool
}

// Command is the benchmark's subcommand. version names the binary in the report; target is asked once
// the flags are read.
func Command(version string, target func() Target) *cobra.Command {
	var quick, large bool
	var only []string
	var store string
	var each time.Duration
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a server, and the machine's floor beside it",
		Long: `Runs workloads against a server of its own on a temporary folder, or against the one at --url, and in
the same run, with the same client, the floors: handlers that answer and do nothing, and a bare file that
is appended to and synced. Client and servers are processes of their own and share the machine.

With --store the workloads that append run once more, on a second server of its own that keeps its events in
that database, so that both stand in one run. The database gets the events of the workloads, for good.

Against --url everything is left out that starts servers of its own.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&quick, "quick", false, "a short form of everything, in about a minute")
	c.Flags().StringSliceVar(&only, "only", nil, "just these workloads: "+strings.Join(workloadNames(), ", "))
	c.Flags().StringVar(&store, "store", "", "measure appends over this database, too: EventStoreDB's or KurrentDB's connection string")
	c.Flags().DurationVar(&each, "for", 4*time.Second, "how long each load goes on")
	c.Flags().BoolVar(&large, "large", false, "again after 50,000,000 events, too, and heartbeats of 1,000,000 instances after a restart; takes half an hour and gigabytes")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		remote := target()
		b := &bench{ctx: c.Context(), out: c.OutOrStdout(), each: each, sizes: benchSizes{Restarts: []int{100_000, 1_000_000}, Beating: 100_000, Changes: 2_000_000, Events: []int{1_000_000}, Idle: 10_000, Checks: fullChecks, FailingChecks: 10_000, CheckEvery: 10 * time.Second}}
		if quick {
			b.sizes = benchSizes{Restarts: []int{100_000}, Beating: 100_000, Changes: 500_000, Events: []int{200_000}, Idle: 500, Checks: 2000, FailingChecks: 1000, CheckEvery: 2 * time.Second}
			if !c.Flags().Changed("for") {
				b.each = 400 * time.Millisecond
			}
		}
		if large {
			b.sizes.Events, b.sizes.Beating = append(b.sizes.Events, 50_000_000), 1_000_000
		}
		if remote.JSON {
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
		if b.raw, err = startChild(c.Context(), "bench-floor", "--raw"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ignoreExit(b.raw.stop())) }()
		if c.Flags().Changed("url") && store != "" {
			return UsageError{errors.New("--store and --url do not go together")}
		}
		if c.Flags().Changed("url") {
			if strings.Contains(remote.URL, ",") {
				return UsageError{errors.New("--url names several nodes: one is measured at a time")}
			}
			b.address = strings.TrimPrefix(strings.TrimSuffix(remote.URL, "/"), "http://")
		} else {
			if b.server, err = startRegistry(c.Context(), filepath.Join(b.dir, "data")); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, ignoreExit(b.server.stop())) }()
			b.address = b.server.address
		}
		if err := b.run(only, store); err != nil {
			return err
		}
		if remote.JSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(struct {
				Version string     `json:"version"`
				Go      string     `json:"go"`
				System  string     `json:"system"`
				CPUs    int        `json:"cpus"`
				Seconds float64    `json:"seconds_per_load"`
				Sizes   benchSizes `json:"sizes"`
				Figures []figure   `json:"figures"`
			}{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, runtime.NumCPU(), b.each.Seconds(), b.sizes, b.figures})
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

func workloads() []workload {
	return []workload{
		{"floors", (*bench).floors, false},
		{"registrations", (*bench).registrations, false},
		{"heartbeats", (*bench).heartbeats, false},
		{"batches", (*bench).batches, false},
		{"lookups", (*bench).lookups, false},
		{"idle", (*bench).idle, true},
		{"mixed", (*bench).mixed, false},
		{"history", (*bench).history, false},
		{"delivery", (*bench).delivery, false},
		{"watchers", (*bench).watchers, false},
		{"large", (*bench).large, false},
		{"replay", (*bench).replay, false},
		{"disk", (*bench).disk, true},
		{"expiry", (*bench).expiry, true},
		{"checks", (*bench).checks, true},
		{"rebuild", (*bench).rebuild, true},
		{"restart", (*bench).restarts, true},
		{"grown", (*bench).grown, true},
	}
}

func workloadNames() (names []string) {
	for _, w := range workloads() {
		names = append(names, w.name)
	}
	return names
}

func (b *bench) run(only []string, store string) error {
	for _, name := range only {
		if !slices.Contains(workloadNames(), name) {
			return UsageError{fmt.Errorf("only must be of %s, not %q", strings.Join(workloadNames(), ", "), name)}
		}
	}
	fmt.Fprintf(b.out, "%-52s %12s %-11s %8s %8s %8s %9s %9s %7s\n", "", "", "", "of floor", "p50 ms", "p99 ms", "cpu µs/op", "cpu/floor", "allocs")
	if err := registerFleet(b.ctx, b.address); err != nil {
		return err
	}
	for _, w := range workloads() {
		if w.own && b.server == nil || len(only) > 0 && !slices.Contains(only, w.name) {
			continue
		}
		b.server.rest(b.each)
		if err := errors.Join(w.run(b), b.ctx.Err()); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if store != "" {
		if err := b.over(store); err != nil {
			return fmt.Errorf("over the database: %w", err)
		}
	}
	missed := 0
	for _, f := range b.figures {
		for _, g := range f.Goals {
			if !g.Met {
				missed++
			}
		}
	}
	if missed > 0 {
		fmt.Fprintf(b.out, "%d goals were missed\n", missed)
	}
	return nil
}

// measure blasts a server and adds a figure; each request carries so many operations.
func (b *bench) measure(f figure, target *child, address string, connections, operations int, next func(connection, n int) []byte) error {
	return b.measureBeside(nil, f, target, address, connections, operations, next)
}

// beside measures a floor for a while: its rate, and its server's processor time for one operation.
type beside func(d time.Duration) (rate, cpu float64, err error)

// The kinds of floors that are measured beside a load, by their figures' names.
const (
	floorBeside = "floor beside: "
	rawBeside   = "raw floor beside: "
)

// turns is how often a load and its floor take turns: a machine's speed changes from second to second.
const turns = 4

// measureBeside is measure with floors, by their kinds, measured by turns with the load. The figures of the floors that the
// ratios are to are added, too.
func (b *bench) measureBeside(floors map[string]beside, f figure, target *child, address string, connections, operations int, next func(connection, n int) []byte) error {
	rates, cpus := map[string]float64{}, map[string]float64{}
	var took, cpu time.Duration
	var requests, refused int
	var latencies []time.Duration
	rounds := 1
	if len(floors) > 0 {
		rounds = turns
	}
	allocBefore, counted := metric(address, "go_memstats_mallocs_total")
	for range rounds {
		for kind, floor := range floors {
			rate, cpu, err := floor(b.each / turns)
			if err != nil {
				return fmt.Errorf("%s%s: %w", kind, f.Name, err)
			}
			rates[kind], cpus[kind] = rates[kind]+rate/turns, cpus[kind]+cpu/turns
		}
		used, err := target.use(func() error {
			l, err := blast(address, connections, b.each/time.Duration(rounds), next)
			if err == nil {
				took, requests, refused, latencies = took+l.elapsed, requests+l.requests, refused+l.refused, append(latencies, l.latencies...)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		cpu += used
	}
	slices.Sort(latencies)
	done := float64(max(requests, 1) * operations)
	l := load{latencies: latencies}
	f.Value, f.Unit = float64(requests*operations)/took.Seconds(), "/s"
	f.P50, f.P99 = l.at(0.5).Seconds()*1000, l.at(0.99).Seconds()*1000
	f.CPU = float64(cpu.Microseconds()) / done
	if after, ok := metric(address, "go_memstats_mallocs_total"); ok && counted {
		f.Allocs = (after - allocBefore) / done
	}
	if refused > 0 {
		f.Note = fmt.Sprintf("%d refused", refused)
	}
	for _, kind := range slices.Sorted(maps.Keys(floors)) {
		b.add(figure{Name: kind + f.Name, Value: rates[kind], Unit: "/s", CPU: cpus[kind]})
	}
	if _, ok := floors[floorBeside]; ok {
		f.Floor = floorBeside + f.Name + b.suffix
	}
	f.RawRatio, f.RawCPU = over(f.Value, rates[rawBeside]), over(f.CPU, cpus[rawBeside])
	b.add(f)
	return nil
}

// bare are the floors of a request to a server that does nothing, from as many connections.
func (b *bench) bare(connections int, request []byte) map[string]beside {
	of := func(server *child) beside {
		return func(d time.Duration) (rate, cpu float64, err error) {
			var l *load
			used, err := server.use(func() (err error) {
				l, err = blast(server.address, connections, d, func(int, int) []byte { return request })
				return err
			})
			if err != nil {
				return 0, 0, err
			}
			return l.perSecond(), float64(used.Microseconds()) / float64(max(l.requests, 1)), nil
		}
	}
	return map[string]beside{floorBeside: of(b.floor), rawBeside: of(b.raw)}
}
