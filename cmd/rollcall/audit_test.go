package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// rollcall runs a subcommand in this process.
func rollcall(args ...string) (string, error) {
	var out bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.Execute()
	return out.String(), err
}

// An auditor's day with the real binary: who did it, what was it then, what changed, and a proof
// that nobody has rewritten it. Somebody then does.
func TestAnAuditOfTheRealBinary(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data)
	cli := func(args ...string) string {
		t.Helper()
		out, err := rollcall(append(args, "--url", p.url)...)
		if err != nil {
			t.Fatalf("rollcall %v: %v\n%s", args, err, out)
		}
		return out
	}
	for i := range 400 { // so that the tree has more than one block
		if status, b, err := p.send("PUT", fmt.Sprintf("/v1/services/web/instances/i%d", i), `{"address":"10.0.0.5","version":"1"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	cli("heartbeat", "web/i7")
	exported := filepath.Join(t.TempDir(), "events.ndjson")
	cli("events", "export", exported)
	kept := filepath.Join(t.TempDir(), "checkpoint.txt")
	key := filepath.Join(t.TempDir(), "checkpoint.key")
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(kept, cli("checkpoint"))
	write(key, cli("checkpoint", "--verifier-key"))

	cli("deregister", "web/i7", "--reason", "scaled down")
	for args, want := range map[string]string{
		"why web/i7":                      "it was deregistered",
		"history web/i7":                  "deregistered: scaled down",
		"history web --type LeaseExpired": "TIME",
		"catalog --at 401":                "i7",
		"diff --from 401":                 "- default/web/i7  deregistered: scaled down",
		"services --at 3":                 "3 passing",
		"replay --speed 0 --from 400":     "deregistered: scaled down",
		"events export -":                 `"reason":"scaled down"`,
		"verify --checkpoint " + kept:     "401 events",
		"verify --verifier-key " + key + " --checkpoint " + kept: "checkpoint of 400 events",
	} {
		if out := cli(strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("rollcall %s says\n%s\nwithout %q", args, out, want)
		}
	}
	if out := cli("catalog"); strings.Contains(out, "i7 ") {
		t.Error("i7 is still there")
	}

	// An export that was cut in the middle of a line goes on, and is whole.
	b, err := os.ReadFile(exported)
	if err != nil {
		t.Fatal(err)
	}
	write(exported, string(b[:len(b)-100]))
	cli("events", "export", exported)
	if b, err = os.ReadFile(exported); err != nil || bytes.Count(b, []byte("\n")) != 401 {
		t.Errorf("the export has %d lines, %v", bytes.Count(b, []byte("\n")), err)
	}
	write(exported, "something else\n")
	if _, err := rollcall("events", "export", exported, "--url", p.url); err == nil {
		t.Error("a file that is no export was written to")
	}

	// Killed and rebuilt, the data folder tells the same.
	told := cli("history", "web/i7", "-o", "json")
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("it was not killed")
	}
	if out, err := rollcall("rebuild", "--data", data); err != nil || !strings.Contains(out, "399 instances") {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	for _, flag := range []string{"--verifier-key", "--key"} { // the second is its earlier name
		if out, err := rollcall("verify", "--data", data, "--checkpoint", kept, flag, key); err != nil {
			t.Fatalf("verify: %v\n%s", err, out)
		}
	}
	p = startServer(t, data)
	if again := cli("history", "web/i7", "-o", "json"); again != told {
		t.Errorf("after the rebuild the history is\n%s\nbefore it was\n%s", again, told)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	tamper(t, filepath.Join(data, "events"), 200, "10.0.0.5", "10.6.6.6")
	_, err = rollcall("verify", "--data", data, "--checkpoint", kept, "--verifier-key", key)
	if err == nil || !strings.Contains(err.Error(), "position 200:") || !strings.Contains(err.Error(), "instance-default/web/i199") {
		t.Errorf("after an event was rewritten, verify says %v", err)
	}
	t.Log(err)
	if _, err := rollcall("rebuild", "--data", data); err != nil { // now the tree agrees with the forgery
		t.Fatal(err)
	}
	if out, err := rollcall("verify", "--data", data); err != nil {
		t.Errorf("without a checkpoint a consistent forgery passes: %v\n%s", err, out)
	}
	if _, err = rollcall("verify", "--data", data, "--checkpoint", kept); err == nil || !strings.Contains(err.Error(), "not what the checkpoint says") {
		t.Errorf("after a consistent forgery, verify says %v", err)
	}
}

// tamper rewrites a stored event as one who knows the store's format would.
func tamper(t *testing.T, dir string, position uint64, from, to string) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quietLogger{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	key := append([]byte("e/"), 0, 0, 0, 0, 0, 0, byte(position>>8), byte(position))
	v, closer, err := db.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(bytes.Clone(v), []byte(from), []byte(to), 1)
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(forged, v) {
		t.Fatal("nothing was forged")
	}
	if err := db.Set(key, forged, pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

type quietLogger struct{}

func (quietLogger) Infof(string, ...any)         {}
func (quietLogger) Errorf(string, ...any)        {}
func (quietLogger) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// A byte that is flipped in a file of the event store either harms no event, or verify finds it.
func TestAFlippedByteIsFound(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "events")
	store, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 300 {
		if _, err := store.Append(t.Context(), nil, lifeRequest(n)); err != nil {
			t.Fatal(err)
		}
	}
	id := store.ID()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	signer, err := history.LoadSigner(filepath.Join(data, "checkpoint.key"), id)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := rollcall("rebuild", "--data", data); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tree, err := history.OpenReadOnly(filepath.Join(data, "history"), id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(tree, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(data, "kept.txt")
	if err := os.WriteFile(kept, signed, 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func() error {
		_, err := rollcall("verify", "--data", data, "--checkpoint", kept)
		return err
	}
	if err := verify(); err != nil {
		t.Fatalf("an untouched folder: %v", err)
	}
	original := canonical(t, dir)
	rng := rand.New(rand.NewPCG(1, 9))
	found := 0
	const flips = 60
	for range flips {
		files, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		path := append(files, tables...)[rng.IntN(len(files)+len(tables))]
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			continue
		}
		at := rng.IntN(len(b))
		flipped := bytes.Clone(b)
		flipped[at] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := verify(); err != nil {
			found++
		} else if canonical(t, dir) != original {
			t.Fatalf("byte %d of %s was flipped, events differ, and verify is content", at, filepath.Base(path))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no flip was found at all")
	}
	if err := verify(); err != nil {
		t.Fatalf("the folder as it was: %v", err)
	}
}

// canonical is everything that is audited in a store's folder.
func canonical(t *testing.T, dir string) string {
	t.Helper()
	store, err := pebblestore.Open(dir, pebblestore.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var all []byte
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: eventstore.Filter{StreamPrefixes: eventstore.AuditedPrefixes()}}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(eventstore.AppendCanonical(all, &e), '\n')
	}
	return string(all)
}
