package main

import (
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/metrics"
)

// docs/metrics.md has every metric that the server has, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	n, err := openNode(t.Context(), settings{store: "embedded", data: t.TempDir(), retention: time.Hour, dns: naming{listen: "127.0.0.1:0"}}, slog.New(slog.DiscardHandler), func(string, func() error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	n.dns.observed.Answered("A", "NOERROR", 0, false)
	n.deliveries.observed.Target("webhook", "one") // what is measured by target is there with the first
	n.metrics.WatchCluster(func() metrics.Cluster { return metrics.Cluster{} })
	var served []string
	for _, name := range n.metrics.Names() {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			served = append(served, name)
		}
	}
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(rollcall_[a-z_]+)` \\|").FindAllStringSubmatch(string(b), -1) {
		documented = append(documented, row[1])
	}
	if !slices.IsSorted(documented) {
		t.Error("the table is not in order")
	}
	if !slices.Equal(served, documented) {
		t.Errorf("served:\n%s\ndocumented:\n%s", strings.Join(served, "\n"), strings.Join(documented, "\n"))
	}
}
