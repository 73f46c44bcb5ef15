package httpapi

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// maxPolicyNotes is how many services the notes of a policy name at most.
const maxPolicyNotes = 10

// concerned finds the services that policies are for, without a look at each service for each policy.
type concerned struct {
	services []domain.ServiceKey            // in order of their names
	named    map[string][]domain.ServiceKey // by name, in order of their namespaces
}

func concernedOf(services []domain.ServiceKey) concerned {
	c := concerned{services, map[string][]domain.ServiceKey{}}
	for _, key := range services {
		c.named[key.Service] = append(c.named[key.Service], key)
	}
	return c
}

// by are the services that a policy is for, in order of their names.
func (c *concerned) by(p domain.PolicySpec) iter.Seq[domain.ServiceKey] {
	return func(yield func(domain.ServiceKey) bool) {
		among := c.services
		switch {
		case p.Service.One():
			among = c.named[string(p.Service)]
		case p.Namespace.One():
			begin, _ := slices.BinarySearchFunc(among, string(p.Namespace), func(key domain.ServiceKey, ns string) int { return strings.Compare(key.Namespace, ns) })
			among = among[begin:]
		}
		for _, key := range among {
			if p.Namespace.One() && key.Namespace > string(p.Namespace) || p.Matches(key) && !yield(key) {
				return
			}
		}
	}
}

// showPolicy gives a policy in the form of the API. It names the services that have fewer ready than it keeps, and those that
// panic by it.
func (a *api) showPolicy(p *domain.Policy, services *concerned) wire.Policy {
	shown := wire.Policy{Name: p.Name, PolicySpec: p.PolicySpec, SetBy: p.By, SetAt: p.At.UTC()}
	live, matches := a.Queries.Live.Catalog(), false
	for service := range services.by(p.PolicySpec) {
		if matches = true; len(shown.Notes) >= maxPolicyNotes {
			break
		}
		view := live.View(service)
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
	shown, services := []wire.Policy{}, concernedOf(a.Queries.Live.Catalog().Services(""))
	for _, p := range a.Policies.List() {
		shown = append(shown, a.showPolicy(p, &services))
	}
	return c.JSON(http.StatusOK, wire.PolicyList{Policies: shown})
}

func (a *api) getPolicy(c echo.Context) error {
	p := a.Policies.Find(pathPart(c, "name"))
	if p == nil {
		return domain.UnknownPolicy{Name: pathPart(c, "name")}
	}
	services := concernedOf(a.Queries.Live.Catalog().Matching([]domain.PolicySpec{p.PolicySpec}))
	slices.SortFunc(services.services, catalog.ByName)
	return c.JSON(http.StatusOK, a.showPolicy(p, &services))
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
