package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// backupTimeout is the write deadline of each part of a backup.
const backupTimeout = time.Minute

// backup streams a backup. Only a client that connects to the socket in the data folder gets a backup, for a backup
// holds the registry's keys. A loopback address is not enough: a proxy on this machine forwards requests of others.
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
	if err := DecodeStrict(raw, &body); err != nil {
		return err
	}
	c.Response().Header().Set("Content-Type", "application/x-tar")
	switch err := a.BackupTo(&partWriter{c}, body.Have); {
	case err != nil && !c.Response().Committed:
		c.Response().Header().Del("Content-Type")
		return problem(http.StatusInternalServerError, "backup-failed", "The backup failed", err.Error()) // its reader owns the data folder
	case err != nil:
		a.Logger.Error("backup failed", "cause", err)
		panic(http.ErrAbortHandler) // the client must not take a part of a backup for a whole one
	}
	return nil
}

// partWriter extends the write deadline for each part of a reply.
type partWriter struct{ c echo.Context }

var _ io.Writer = (*partWriter)(nil)

func (w *partWriter) Write(b []byte) (int, error) {
	extendWriteDeadline(w.c, backupTimeout)
	return w.c.Response().Write(b)
}
