package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// checkpoint is the signed head of the tamper-evident log, as a note: origin, number of events, root.
func (a *api) checkpoint(c echo.Context) error {
	if err := a.historyUpToDate(c); err != nil {
		return err
	}
	signed, err := a.Checkpoints.Sign(a.History)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", signed)
}

func (a *api) checkpointKey(c echo.Context) error {
	return c.String(http.StatusOK, a.Checkpoints.VerifierKey()+"\n")
}

// maxLeaves is how many leaves are sent at once.
const maxLeaves = 10_000

// leaves gives the tree's leaves: with them, and a checkpoint that they add up to, an auditor can
// tell which event is not what it was.
func (a *api) leaves(c echo.Context) error {
	if err := a.historyUpToDate(c); err != nil {
		return err
	}
	size := a.History.Leaves()
	from, err := intParam(c, "from", 0, 0, size)
	if err != nil {
		return err
	}
	limit, err := intParam(c, "limit", maxLeaves, 1, maxLeaves)
	if err != nil {
		return err
	}
	hashes, err := a.History.LeafHashes(from, min(from+limit, size))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, struct {
		From   int64       `json:"from"`
		Size   int64       `json:"size"`
		Hashes []tlog.Hash `json:"hashes"`
	}{from, size, notNull(hashes)})
}

// inclusion proves that an event is in the log of so many events.
func (a *api) inclusion(c echo.Context) error {
	if err := a.historyUpToDate(c); err != nil {
		return err
	}
	position, err := parsePosition("position", c.QueryParam("position"))
	if err != nil {
		return err
	}
	entry, ok, err := a.History.At(c.Request().Context(), position)
	if err != nil {
		return err
	}
	if !ok {
		return invalidField("position", "must be that of a lifecycle event; heartbeats are not in the log")
	}
	size, err := a.treeSize(c, "size")
	if err != nil {
		return err
	}
	proof, err := a.History.ProveInclusion(size, entry.Leaf)
	if err != nil {
		return noSuchTree(err, "size", size)
	}
	root, err := a.History.Root(size)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, struct {
		Size  int64           `json:"size"`
		Leaf  int64           `json:"leaf"`
		Hash  tlog.Hash       `json:"hash"`
		Root  tlog.Hash       `json:"root"`
		Proof []tlog.Hash     `json:"proof"`
		Event json.RawMessage `json:"event"` // in canonical form: hash is RFC 6962's leaf hash of these bytes
	}{size, entry.Leaf, history.HashEvent(&entry.RecordedEvent), root, notNull(proof), eventstore.AppendCanonical(nil, &entry.RecordedEvent)})
}

// consistency proves that the log of so many events is the beginning of a later one.
func (a *api) consistency(c echo.Context) error {
	if err := a.historyUpToDate(c); err != nil {
		return err
	}
	from, err := a.treeSize(c, "from")
	if err != nil {
		return err
	}
	to, err := a.treeSize(c, "to")
	if err != nil {
		return err
	}
	proof, err := a.History.ProveConsistency(to, from)
	if err != nil {
		return noSuchTree(err, "from", from)
	}
	fromRoot, err := a.History.Root(from)
	if err != nil {
		return err
	}
	toRoot, err := a.History.Root(to)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, struct {
		From     int64       `json:"from"`
		To       int64       `json:"to"`
		FromRoot tlog.Hash   `json:"from_root"`
		ToRoot   tlog.Hash   `json:"to_root"`
		Proof    []tlog.Hash `json:"proof"`
	}{from, to, fromRoot, toRoot, notNull(proof)})
}

func notNull(hashes []tlog.Hash) []tlog.Hash {
	if hashes == nil {
		return []tlog.Hash{}
	}
	return hashes
}

// treeSize reads a number of events; all of them when it is left out.
func (a *api) treeSize(c echo.Context, field string) (int64, error) {
	size := a.History.Leaves()
	return intParam(c, field, size, 1, size)
}

// intParam reads a whole number from least to most.
func intParam(c echo.Context, field string, otherwise, least, most int64) (int64, error) {
	s := c.QueryParam(field)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, invalidField(field, fmt.Sprintf("must be from %d to %d", least, most))
	}
	return n, nil
}

func noSuchTree(err error, field string, size int64) error {
	if errors.Is(err, history.ErrNoSuchTree) {
		return invalidField(field, "does not fit: the log of "+strconv.FormatInt(size, 10)+" events has no such proof")
	}
	return err
}
