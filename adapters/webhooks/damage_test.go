package webhooks_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/webhooks"
)

// Every file of the folder in turn is cut, changed or missing: the log opens and takes attempts.
func TestADamagedDeliveryLogBeginsAnew(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "deliveries")
	log, err := webhooks.OpenLog(whole, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		log.Add("w", webhooks.Attempt{Event: "e", Attempt: i})
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(whole)
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	check := func(name string, damage func(dir string) error) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "deliveries")
			if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), damage(dir)); err != nil {
				t.Fatal(err)
			}
			log, err := webhooks.OpenLog(dir, quiet)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = log.Newest("w", 100) // finds out, if opening did not
			log.Add("w", webhooks.Attempt{Event: "new"})
			if attempts, err := log.Newest("w", 100); err != nil || len(attempts) != 1 && len(attempts) != 51 {
				t.Errorf("%d attempts, %v", len(attempts), err)
			}
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, f := range files {
		check(f.Name()+" emptied", func(dir string) error { return os.Truncate(filepath.Join(dir, f.Name()), 0) })
		check(f.Name()+" missing", func(dir string) error { return os.Remove(filepath.Join(dir, f.Name())) })
		check(f.Name()+" changed", func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			for i := range b {
				b[i] ^= 0x55
			}
			return errors.Join(err, os.WriteFile(filepath.Join(dir, f.Name()), b, 0o600))
		})
	}
	check("the folder is a file", func(dir string) error {
		return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
	})
}
