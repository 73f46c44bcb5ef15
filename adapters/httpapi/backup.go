package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
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
	var body wire.BackupRequest
	raw, err := readBody(c, MaxBatchBody)
	if err != nil {
		return err
	}
	if err := DecodeStrict(raw, &body); err != nil {
		return err
	}
	for i, f := range body.Have {
		if err := checkHeld(f); err != nil {
			err.Field = fmt.Sprintf("have[%d].%s", i, err.Field)
			return *err
		}
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

// checkHeld refuses a file that no manifest of a backup names so: the caller would get tables again that it has.
func checkHeld(f wire.BackupFile) *domain.InvalidField {
	sum, err := hex.DecodeString(f.SHA256)
	switch {
	case f.Name == "":
		return &domain.InvalidField{Field: "name", Rule: "is needed"}
	case f.Size < 0:
		return &domain.InvalidField{Field: "size", Rule: "must not be negative"}
	case f.SHA256 != "" && (err != nil || len(sum) != sha256.Size): // backups of early versions have none
		return &domain.InvalidField{Field: "sha256", Rule: "must be 64 hexadecimal digits"}
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
