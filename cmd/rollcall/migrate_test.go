package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A history moves to a cluster and back, interrupted on the way, and is the same to the last byte of
// its tree.
func TestAHistoryMovesToAClusterAndBack(t *testing.T) {
	server, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	small := t.TempDir()
	store, err := pebblestore.Open(filepath.Join(small, "events"), pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	beat := func(i int) eventstore.AppendRequest {
		key, _ := lifeEvent(i)
		return eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(key), Events: []eventstore.EventData{{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"anonymous","schema":1}`)}}}
	}
	for i := range 500 {
		if _, err := store.Append(t.Context(), nil, lifeRequest(i), beat(i), beat(i/2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	root := func(data string) string {
		t.Helper()
		if out, err := rollcall("rebuild", "--data", data); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := rollcall("verify", "--data", data)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		line, _, _ := strings.Cut(out, "\n")
		return line
	}
	n, withdrawn := 0, true
	server.FailWith(func(string) esdbtest.Fault {
		n++
		switch {
		case n >= 700 && withdrawn: // in the middle of a batch: nothing is taken from here on
			return esdbtest.AccessDenied
		case n%211 == 0:
			return esdbtest.DropAfter
		case n%211 == 100:
			return esdbtest.DropBefore
		}
		return esdbtest.None
	})
	cluster := server.ConnectionString()
	if out, err := rollcall("migrate", "--from", small, "--to", cluster); err == nil || !strings.Contains(err.Error(), "run it again to go on") {
		t.Fatalf("%v\n%s", err, out)
	}
	withdrawn = false
	if out, err := rollcall("migrate", "--from", small, "--to", cluster); err != nil || !strings.Contains(out, " events copied; 1500 compared") || strings.HasPrefix(out, "1500 events copied; 1500 compared") {
		t.Fatalf("%v\n%s", err, out)
	}
	back := t.TempDir()
	if out, err := rollcall("migrate", "--from", strings.Replace(cluster, "esdb", "kurrentdb", 1), "--to", back); err != nil || !strings.Contains(out, "1500 events copied; 1500 compared") {
		t.Fatalf("%v\n%s", err, out)
	}
	if a, b := root(small), root(back); a != b || !strings.Contains(a, "500 events") {
		t.Errorf("there and back:\n%s\n%s", a, b)
	}
	p := startServer(t, back)
	status, b, err := p.send("GET", "/v1/history?type=TimelineBegan", "")
	if err != nil || status != 200 || !strings.Contains(string(b), "moved from another event store: the log goes on after position 0 as timeline ") {
		t.Errorf("the log does not tell of the move: %d, %v, %s", status, err, b)
	}
	if status, b, err := p.send("GET", "/v1/events?from=7", ""); err != nil || status != 410 {
		t.Errorf("a position of the cluster is answered %d, %v, %s", status, err, b)
	}
	_ = p.end(syscall.SIGTERM)
	if out, err := rollcall("migrate", "--from", small, "--to", t.TempDir()); err != nil || !strings.Contains(out, "positions up to 1500 are those of the source") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := rollcall("migrate", "--from", small, "--to", t.TempDir(), "--heartbeats=false"); err != nil || !strings.Contains(out, "500 events copied") {
		t.Errorf("%v\n%s", err, out)
	}
	other := t.TempDir()
	store, err = pebblestore.Open(filepath.Join(other, "events"), pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Append(t.Context(), nil, lifeRequest(7)); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := rollcall("migrate", "--from", small, "--to", other); err == nil || !strings.Contains(err.Error(), "another store's") {
		t.Errorf("onto another store's events: %v", err)
	}
	for _, args := range [][]string{{}, {"--from", small}, {"--from", small, "--to", small}, {"--from", small, "--to", "esdb://x?tls=maybe"}, {"--from", fmt.Sprint(small, "-nowhere"), "--to", other}} {
		if _, err := rollcall(append([]string{"migrate"}, args...)...); err == nil {
			t.Errorf("migrate %v passes", args)
		}
	}
}

// An event that is missing in the middle is found out by the next run, which puts nothing behind it.
func TestAMoveThatCannotBeCompletedInOrderSaysSo(t *testing.T) {
	server, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	data := t.TempDir()
	store, err := pebblestore.Open(filepath.Join(data, "events"), pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if _, err := store.Append(t.Context(), nil, lifeRequest(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	server.FailWith(func(string) esdbtest.Fault {
		if n++; n == 100 {
			return esdbtest.AccessDenied
		}
		return esdbtest.None
	})
	if out, err := rollcall("migrate", "--from", data, "--to", server.ConnectionString()); err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	before := n
	if out, err := rollcall("migrate", "--from", data, "--to", server.ConnectionString()); err == nil || !strings.Contains(err.Error(), "begin anew with an empty store") {
		t.Fatalf("%v\n%s", err, out)
	}
	if n != before {
		t.Errorf("%d events were appended behind the gap", n-before)
	}
}

// BenchmarkMigrate copies 20,000 events, heartbeats and others, into the imitation of a database.
func BenchmarkMigrate(b *testing.B) {
	const lives = 10_000
	data := b.TempDir()
	store, err := pebblestore.Open(filepath.Join(data, "events"), pebblestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < lives; i += 500 {
		var requests []eventstore.AppendRequest
		for j := i; j < i+500; j++ {
			key, _ := lifeEvent(j)
			requests = append(requests, lifeRequest(j), eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(key), Events: []eventstore.EventData{{
				Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"actor":"anonymous","schema":1}`),
			}}})
		}
		if _, err := store.Append(b.Context(), nil, requests...); err != nil {
			b.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		server, err := esdbtest.Start()
		if err != nil {
			b.Fatal(err)
		}
		if out, err := rollcall("migrate", "--from", data, "--to", server.ConnectionString()); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		server.Stop()
	}
	b.ReportMetric(2*lives*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
