package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// checkpoint is the signed head of the tamper-evident log, as a note.
func (a *api) checkpoint(c echo.Context) error {
	signed, err := a.Queries.Checkpoint(c.Request().Context())
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", signed)
}

func (a *api) checkpointKey(c echo.Context) error {
	return c.String(http.StatusOK, a.Queries.CheckpointKey()+"\n")
}

// leaves gives a page of the leaves of the Merkle tree.
func (a *api) leaves(c echo.Context) error {
	leaves, err := a.Queries.Leaves(c.Request().Context(), c.QueryParam("from"), c.QueryParam("limit"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, leaves)
}

// inclusion proves that an event is in the tamper-evident log of the given size.
func (a *api) inclusion(c echo.Context) error {
	proof, err := a.Queries.Inclusion(c.Request().Context(), c.QueryParam("position"), c.QueryParam("size"), secrets(c))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, proof)
}

// consistency proves that the log of one size is the beginning of the log of a later size.
func (a *api) consistency(c echo.Context) error {
	proof, err := a.Queries.Consistency(c.Request().Context(), c.QueryParam("from"), c.QueryParam("to"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, proof)
}
