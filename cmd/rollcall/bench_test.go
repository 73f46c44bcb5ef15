package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
)

// The benchmark command runs every workload that it names; what the figures are is not a test's to say.
func TestBenchMeasuresWhatItNames(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	out, stderr, code := run(t, nil, "bench", "--quick", "--for", "30ms", "--output", "json")
	var report struct {
		CPUs    int `json:"cpus"`
		Figures []struct {
			Name, Unit, Note string
			Value            float64
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || report.CPUs == 0 {
		t.Fatalf("bench gave %d, %q, %q: %v", code, out, stderr, err)
	}
	for _, name := range []string{
		"floor: bare 204, 1024 connections", "floor: file log, 16 × 1000 events", "registrations, new", "registrations, repeated",
		"heartbeats, 64 connections", "heartbeats, 256 connections", "heartbeats, 1024 connections", "heartbeats in batches of 100", "heartbeats in batches of 1000",
		"lookup of 20 instances (", "lookup of 20 instances, unchanged", "lookup of 1000 instances (", "lookup of 1000 instances, unchanged", "mixed", "history of an instance",
		"registration to subscriber, alone", "registration to subscriber, 2,000 heartbeats/s", "disk, a registration", "disk, a heartbeat", "expiry of 10,000 leases",
		"2000 checks every 2s, cores of the server", "2000 checks every 2s, resident, later", "1000 checks that fail together, all in the log",
		"raw floor beside: heartbeats, 256 connections", "raw floor beside: lookup of 20 instances (", "heartbeats, 256 connections, beside 500 idle connections",
		"replay over HTTP", "rebuild of the catalog", "rebuild of the history", "restart with 100000 instances", "memory of 100000 instances, resident", "memory of 100000 instances that heartbeat", "3 heartbeats of each of 100000 instances",
		"heartbeats, 256 connections, after 200000 events", "lookup of 20 instances, unchanged, after 200000 events", "history of an instance, 10 newest entries, after 200000 events",
	} {
		found := false
		for _, f := range report.Figures {
			if strings.HasPrefix(f.Name, name) {
				found = true
				// A compaction in so short a run can free more than the run wrote.
				if f.Value == 0 || f.Value < 0 && f.Unit != "bytes" || strings.Contains(f.Note, "refused") {
					t.Errorf("%s is %v %s (%s)", f.Name, f.Value, f.Unit, f.Note)
				}
			}
		}
		if !found {
			t.Errorf("there is no figure of %s", name)
		}
	}
	if _, stderr, code := run(t, nil, "bench", "--only", "nothing"); code == 0 || !strings.Contains(stderr, "nothing") {
		t.Errorf("an unknown workload gave %d, %q", code, stderr)
	}
}

// What appends is measured over a database, too, in the same run.
func TestBenchMeasuresADatabaseBesideTheEmbeddedStore(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	database, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer database.Stop()
	out, stderr, code := run(t, nil, "bench", "--quick", "--for", "50ms", "--only", "registrations", "--store", database.ConnectionString(), "--output", "json")
	var report struct {
		Figures []struct {
			Name, Note string
			Value      float64
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("bench gave %d, %q, %q: %v", code, out, stderr, err)
	}
	found := map[string]float64{}
	for _, f := range report.Figures {
		found[f.Name] = f.Value
		if strings.Contains(f.Note, "refused") || strings.Contains(f.Note, "missed") {
			t.Errorf("%s: %s", f.Name, f.Note)
		}
	}
	for _, name := range []string{
		"registrations, new", "registrations, new, over the database", "heartbeats, 256 connections, over the database",
		"heartbeats in batches of 100, over the database", "heartbeats in batches of 1000, over the database",
	} {
		if found[name] <= 0 {
			t.Errorf("%s is %v; there are %v", name, found[name], found)
		}
	}
}
