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
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Whoever asks for a backup that cannot be made is told why. A backup that fails in the middle never ends as a whole one does.
func TestABackupThatFailsIsToldWithItsCause(t *testing.T) {
	var sent string // before the failure
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.BackupTo = func(w io.Writer, _ []wire.BackupFile) error {
			if sent != "" {
				if _, err := io.WriteString(w, sent); err != nil {
					return err
				}
			}
			return errors.New("copy the event store: no space left on device")
		}
	})
	ask := func() *httptest.ResponseRecorder { return s.overSocket(t, http.MethodPost, "/v1/backup", `{}`) }
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

// overSocket sends a request as through the socket in the data folder.
func (s *server) overSocket(t *testing.T, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
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
	r := httptest.NewRequestWithContext(web.ConnContext(t.Context(), client), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return w
}

// A list of files that no backup has is refused by the field that is wrong, as every body is, and not with a fault of the server.
func TestABackupRefusesAWrongBodyByItsField(t *testing.T) {
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	var asked []wire.BackupFile
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.BackupTo = func(_ io.Writer, have []wire.BackupFile) error {
			asked = have
			return nil
		}
	})
	for body, field := range map[string]string{
		`{"have":{}}`:     "have",
		`{"have":"x"}`:    "have",
		`{"have":[null]}`: "have[0]",
		`{"have":[1]}`:    "have[0]",
		`{"have":[{"name":"a","size":1,"sha256":"` + sum + `"},{"nam":"b"}]}`:                       "have[1].nam",
		`{"have":[{"name":"a","size":1,"sha256":"` + sum + `"},{"size":1,"sha256":"` + sum + `"}]}`: "have[1].name",
		`{"have":[{"name":7}]}`: "have[0].name",
		`{"have":[{"name":"a","size":-1,"sha256":"` + sum + `"}]}`:           "have[0].size",
		`{"have":[{"name":"a","size":9223372036854775808}]}`:                 "have[0].size",
		`{"have":[{"name":"a","size":1,"sha256":"` + sum[1:] + `"}]}`:        "have[0].sha256",
		`{"have":[{"name":"a","size":1,"sha256":"` + sum[1:] + `g"}]}`:       "have[0].sha256",
		`{"have":[{"name":"a","name":"b","size":1,"sha256":"` + sum + `"}]}`: "have[0].name",
		`{"haves":[]}`: "haves",
		`[]`:           "body",
		`null`:         "body",
	} {
		w := s.overSocket(t, http.MethodPost, "/v1/backup", body)
		var p wire.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusUnprocessableEntity || p.Field != field {
			t.Errorf("%s: %d %s, want 422 for %s", body, w.Code, w.Body, field)
		}
	}
	for _, body := range []string{`{}`, `{"have":null}`, `{"have":[]}`} {
		if w := s.overSocket(t, http.MethodPost, "/v1/backup", body); w.Code != http.StatusOK || len(asked) > 0 {
			t.Errorf("%s: %d %s, asked for all but %v", body, w.Code, w.Body, asked)
		}
	}
	if w := s.overSocket(t, http.MethodPost, "/v1/backup", `{"have":[{"name":"a.sst","size":0}]}`); w.Code != http.StatusOK || len(asked) != 1 {
		t.Errorf("%d %s, asked for all but %v", w.Code, w.Body, asked)
	}
	w := s.overSocket(t, http.MethodPost, "/v1/backup", `{"have":[{"name":"a.sst","path":"a.sst~1","size":1,"sha256":"`+sum+`"}]}`)
	if want := (wire.BackupFile{Name: "a.sst", Path: "a.sst~1", Size: 1, SHA256: sum}); w.Code != http.StatusOK || len(asked) != 1 || asked[0] != want {
		t.Errorf("%d %s, asked for all but %v", w.Code, w.Body, asked)
	}
}
