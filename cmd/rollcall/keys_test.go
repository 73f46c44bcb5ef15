package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

var quiet = slog.New(slog.DiscardHandler)

// keyFiles starts a registry in a folder and gives what its key files hold.
func keyFiles(t *testing.T, data string, do func(*node)) map[string][]byte {
	t.Helper()
	if err := openFolder(t, data, do); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range []string{"webhooks.key", "checkpoint.key"} {
		b, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}

// Every length that a first start may have left of a key, on a registry without events: it starts.
func TestAKeyThatNothingDependsOnIsMadeAnew(t *testing.T) {
	data := t.TempDir()
	for name, whole := range keyFiles(t, data, func(*node) {}) {
		file := filepath.Join(data, name)
		for length := range len(whole) {
			if name == "checkpoint.key" && length%40 != 0 && length < len(whole)-2 {
				continue // each start takes its time
			}
			if err := os.WriteFile(file, whole[:length], 0o600); err != nil {
				t.Fatal(err)
			}
			if err := openFolder(t, data, func(*node) {}); err != nil {
				t.Fatalf("%s of %d bytes: %v", name, length, err)
			}
			if b, err := os.ReadFile(file); err != nil || len(b) < len(whole)-1 {
				t.Fatalf("%s of %d bytes became one of %d, %v", name, length, len(b), err)
			}
		}
	}
	if aside, err := filepath.Glob(filepath.Join(data, "webhooks.key.damaged-*")); err != nil || len(aside) != 32 {
		t.Errorf("%d files were put aside, %v", len(aside), err)
	}
}

func TestAFolderWithNothingButHalvesOfKeysStarts(t *testing.T) {
	data := t.TempDir()
	for name, content := range map[string]string{"webhooks.key": "short", "checkpoint.key": "PRIVATE+KEY+rollcall/", "store-id": ""} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := openFolder(t, data, func(n *node) { registerInstance(t, n, "a") }); err != nil {
		t.Error(err)
	}
}

func TestADamagedKeyThatSomethingDependsOnIsRefusedWithAWayOut(t *testing.T) {
	data := t.TempDir()
	whole := keyFiles(t, data, func(n *node) {
		sealed, err := n.deliveries.secrets.Seal("whsec_" + strings.Repeat("A", 32))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&commands.Webhooks{Store: n.store, WaitFor: n.live.WaitFor}).Create(t.Context(), commands.Caller{}, domain.CreateWebhook{
			Spec: domain.WebhookSpec{URL: "https://example.com"}, Secret: sealed,
		}); err != nil {
			t.Fatal(err)
		}
	})
	secret := bytes.IndexByte(whole["checkpoint.key"], '\n')
	for name, damaged := range map[string][][]byte{
		"webhooks.key":   {nil, whole["webhooks.key"][:1], whole["webhooks.key"][:31], append(whole["webhooks.key"][:32:32], 0), make([]byte, 32)},
		"checkpoint.key": {nil, whole["checkpoint.key"][:1], whole["checkpoint.key"][:secret-1], bytes.Replace(whole["checkpoint.key"], []byte("+KEY+"), []byte("+KEZ+"), 1)},
	} {
		file := filepath.Join(data, name)
		for _, content := range damaged {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			err := openFolder(t, data, func(*node) {})
			if err == nil || !strings.Contains(err.Error(), file+" is damaged") || !strings.Contains(err.Error(), "bring the file back from a backup, or move it away") {
				t.Errorf("%s of %d bytes: %v", name, len(content), err)
			}
			if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, content) {
				t.Errorf("%s of %d bytes was changed, %v", name, len(content), err)
			}
		}
		if err := os.Remove(file); err != nil { // the way out
			t.Fatal(err)
		}
		if err := openFolder(t, data, func(*node) {}); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// The public key in the file can be computed: it is written again, and the key stays the same.
func TestADamagedPublicKeyIsWrittenAgain(t *testing.T) {
	data := t.TempDir()
	whole := keyFiles(t, data, func(n *node) { registerInstance(t, n, "a") })["checkpoint.key"]
	file := filepath.Join(data, "checkpoint.key")
	secret := bytes.IndexByte(whole, '\n')
	for _, content := range [][]byte{whole[:secret], whole[:secret+1], whole[:len(whole)-3], append(whole[:len(whole)-9:len(whole)-9], "AAAAAAAA\n"...)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openFolder(t, data, func(*node) {}); err != nil {
			t.Fatalf("%d bytes: %v", len(content), err)
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, whole) {
			t.Errorf("%d bytes became %q, %v", len(content), b, err)
		}
	}
}

func TestADamagedStoreIDBlocksNoFolderThatBelongsToNoStore(t *testing.T) {
	id := uuid.New()
	for length := range len(id.String()) {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, "store-id"), []byte(id.String()[:length]), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := loadStoreID(data, quiet); err != nil || got != uuid.Nil {
			t.Errorf("%d bytes: %s, %v", length, got, err)
		}
	}
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "store-id"), []byte(id.String()+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if got, err := loadStoreID(data, quiet); err != nil || got != id {
		t.Errorf("a whole file: %s, %v", got, err)
	}
}

func TestADamagedStoreIDIsReadFromTheCheckpointsKey(t *testing.T) {
	data := t.TempDir()
	keyFiles(t, data, func(n *node) { registerInstance(t, n, "a") })
	var id uuid.UUID
	if err := openFolder(t, data, func(n *node) { id = n.store.id }); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(data, "store-id")
	for length := range len(id.String()) {
		if err := os.WriteFile(file, []byte(id.String()[:length]), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := loadStoreID(data, quiet); err != nil || got != id {
			t.Errorf("%d bytes: %s, %v", length, got, err)
		}
	}
	if err := errors.Join(os.WriteFile(file, nil, 0o640), os.Remove(filepath.Join(data, "checkpoint.key"))); err != nil {
		t.Fatal(err)
	}
	if _, err := loadStoreID(data, quiet); !errors.As(err, new(durable.Damaged)) || !strings.Contains(err.Error(), "history/") || !strings.Contains(err.Error(), "or move it away") {
		t.Errorf("a folder that belongs to some store: %v", err)
	}
}

// The key of another store signs checkpoints that nobody who kept this store's key can verify: the log says so.
func TestAKeyOfAnotherStoreIsTold(t *testing.T) {
	data, other := t.TempDir(), t.TempDir()
	keyFiles(t, data, func(*node) {})
	key := keyFiles(t, other, func(*node) {})["checkpoint.key"]
	warned := func() string {
		var log bytes.Buffer
		s := settings{data: data, store: "embedded", retention: time.Hour, minFree: 1}
		n, err := openNode(t.Context(), s, slog.New(slog.NewTextHandler(&log, nil)), func(string, func() error) {})
		if err == nil {
			err = n.close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	if log := warned(); strings.Contains(log, "another event store") {
		t.Errorf("of its own key it says %s", log)
	}
	if err := os.WriteFile(filepath.Join(data, "checkpoint.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if log := warned(); !strings.Contains(log, "another event store") {
		t.Errorf("of another key it says %s", log)
	}
}
