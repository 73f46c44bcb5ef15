package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// backupTimeout is within what a client must take each part of a backup.
const backupTimeout = time.Minute

// backup streams a backup to who reaches the socket in the data folder: it holds the registry's keys.
// A client's address says nothing, for a proxy on this machine passes on requests of others.
func (a *api) backup(c echo.Context) error {
	if !web.IsLocal(c.Request().Context()) {
		return problem(http.StatusForbidden, "local-only", "Only through the socket in the data folder", "a backup holds the registry's keys; run rollcall backup --data on its machine, as the user who owns the data folder")
	}
	if a.BackupTo == nil {
		return problem(http.StatusNotImplemented, "no-backup", "There is nothing to back up here", "the events are in another event store; back that up by its own means")
	}
	var body struct {
		Have json.RawMessage `json:"have"`
	}
	raw, err := readBody(c, MaxBatchBody)
	if err != nil {
		return err
	}
	if err := decodeStrict(raw, &body); err != nil {
		return err
	}
	c.Response().Header().Set("Content-Type", "application/x-tar")
	if err := a.BackupTo(&patientWriter{c}, body.Have); err != nil {
		a.Logger.Error("backup failed", "cause", err)
		panic(http.ErrAbortHandler) // a part must not pass for the whole
	}
	return nil
}

// patientWriter gives the client time for each part.
type patientWriter struct{ c echo.Context }

var _ io.Writer = (*patientWriter)(nil)

func (w *patientWriter) Write(b []byte) (int, error) {
	patience(w.c, backupTimeout)
	return w.c.Response().Write(b)
}
