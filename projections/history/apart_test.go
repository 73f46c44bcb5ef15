package history_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// A folder that takes little gets no file of values with each flush, of which there is one a minute. One that takes much does.
func TestLargeValuesOfSmallFlushesStayInTheTables(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h, err := history.Open(dir, storeID, quiet)
	if err != nil {
		t.Fatal(err)
	}
	count := func(pattern string) int {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	registrations := func(n int) {
		t.Helper()
		before := int(h.Position())
		note(t, h, n, func(i int) (domain.Key, string, string, time.Duration) {
			i += before
			return web(i), domain.TypeInstanceRegistered, fmt.Sprintf(`{"epoch":1,"address":"10.0.0.1","tags":["%x"]}`, sha256.Sum256([]byte(fmt.Sprint(i)))), time.Duration(i) * time.Millisecond
		})
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	registrations(40_000)
	tables, apart := count("*.sst"), count("*.blob")
	if apart == 0 {
		t.Error("the values of a large flush are in the tables")
	}
	if h, err = history.Open(dir, storeID, quiet); err != nil {
		t.Fatal(err)
	}
	registrations(500)
	if count("*.blob") != apart || count("*.sst") <= tables {
		t.Errorf("a small flush made %d tables and %d files of values", count("*.sst")-tables, count("*.blob")-apart)
	}
}
