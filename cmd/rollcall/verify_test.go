package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/history"
)

// Events are verified against a tree or a checkpoint. Where there is neither, nothing is called verified: whoever changes events can remove
// the history, too.
func TestNothingIsVerifiedAgainstNothing(t *testing.T) {
	data, checkpoint := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "checkpoint")
	err := openFolder(t, data, func(n *node) {
		registerInstance(t, n, "a")
		signed, err := n.queries.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(checkpoint, signed, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(args ...string) (string, error) {
		var out bytes.Buffer
		c := verifyCommand(&commandLine{output: "table"})
		c.SetOut(&out)
		c.SetErr(&out)
		c.SetArgs(append(args, "--data", data))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	if out, err := verify(); err != nil || !strings.Contains(out, "its own tree") {
		t.Errorf("with its tree: %v, %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(data, "history")); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err == nil || !strings.Contains(err.Error(), "NOT VERIFIED") {
		t.Errorf("with neither a tree nor a checkpoint: %v, %s", err, out)
	}
	if out, err := verify("--checkpoint", checkpoint); err != nil || !strings.Contains(out, "stands") || strings.Contains(out, "were compared") {
		t.Errorf("with a checkpoint: %v, %s", err, out)
	}
	// More events have come since the checkpoint, and their tree is lost again.
	if err := openFolder(t, data, func(n *node) { registerInstance(t, n, "b") }); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(data, "history")); err != nil {
		t.Fatal(err)
	}
	if out, err := verify("--checkpoint", checkpoint); err != nil || !strings.Contains(out, "only the first 1 events were compared") {
		t.Errorf("with a checkpoint of some: %v, %s", err, out)
	}
	if err := os.WriteFile(checkpoint, []byte(history.Origin([16]byte{1})+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := verify("--checkpoint", checkpoint); err == nil {
		t.Error("a checkpoint without a signature is taken")
	}
}
