package httpapi_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
)

// Whoever asks for a backup that cannot be made is told why. A backup that fails in the middle never ends as a whole one does.
func TestABackupThatFailsIsToldWithItsCause(t *testing.T) {
	var sent string // before the failure
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.BackupTo = func(w io.Writer, _ json.RawMessage) error {
			if sent != "" {
				if _, err := io.WriteString(w, sent); err != nil {
					return err
				}
			}
			return errors.New("copy the event store: no space left on device")
		}
	})
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	client, err := net.Dial("unix", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ask := func() *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(web.ConnContext(t.Context(), client), http.MethodPost, "/v1/backup", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		return w
	}
	w := ask()
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "backup-failed") || !strings.Contains(w.Body.String(), "no space left") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if kind := w.Header().Get("Content-Type"); kind != web.MIMEProblem {
		t.Errorf("the problem's type is %q", kind)
	}
	sent = "a part"
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the transfer of a part is not aborted")
		}
	}()
	ask()
}
