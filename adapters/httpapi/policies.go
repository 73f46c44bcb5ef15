package httpapi

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// maxPolicyNotes is how many services the notes of a policy name at most.
const maxPolicyNotes = 10

// showPolicy gives a policy in the form of the API. It names the services that have fewer ready than it keeps, and those that
// panic by it.
func (a *api) showPolicy(p domain.Policy) wire.Policy {
	shown := wire.Policy{Name: p.Name, PolicySpec: p.PolicySpec, SetBy: p.By, SetAt: p.At.UTC()}
	catalog, matches := a.Queries.Live.Catalog(), false
	for _, service := range catalog.Services("") {
		if !p.Matches(service) {
			continue
		}
		if matches = true; len(shown.Notes) >= maxPolicyNotes {
			break
		}
		view := catalog.View(service)
		if p.PanicThreshold != "" && p.Panics(view.ReadyCount(), len(view.Entries)) {
			shown.Notes = append(shown.Notes, fmt.Sprintf("%s has %d of %d instances ready, fewer than %s: lookups of ready instances give all", service, view.ReadyCount(), len(view.Entries), p.PanicThreshold))
		}
		if p.MinReady == "" {
			continue
		}
		if ready, needed := view.ReadyCount(), p.MinReady.Of(len(view.Entries)); ready < needed {
			shown.Notes = append(shown.Notes, fmt.Sprintf("%s has %d of %d instances ready, fewer than %d: every removal of a ready one is refused", service, ready, len(view.Entries), needed))
		}
	}
	if !matches {
		shown.Notes = append(shown.Notes, "it is for no service that has instances now")
	}
	return shown
}

func (a *api) listPolicies(c echo.Context) error {
	shown := []wire.Policy{}
	for _, p := range a.Policies.List() {
		shown = append(shown, a.showPolicy(p))
	}
	return c.JSON(http.StatusOK, wire.PolicyList{Policies: shown})
}

func (a *api) getPolicy(c echo.Context) error {
	p, ok := a.Policies.Find(pathPart(c, "name"))
	if !ok {
		return domain.UnknownPolicy{Name: pathPart(c, "name")}
	}
	return c.JSON(http.StatusOK, a.showPolicy(p))
}

func (a *api) setPolicy(c echo.Context) error {
	var spec domain.PolicySpec
	if err := decodeBody(c, &spec, false); err != nil {
		return err
	}
	if err := a.PolicyCommands.Do(c.Request().Context(), caller(c), domain.SetPolicy{Name: pathPart(c, "name"), Spec: spec}); err != nil {
		return err
	}
	return a.getPolicy(c)
}

func (a *api) removePolicy(c echo.Context) error {
	command := domain.RemovePolicy{Name: pathPart(c, "name"), Reason: c.QueryParam("reason")}
	if err := a.PolicyCommands.Do(c.Request().Context(), caller(c), command); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
