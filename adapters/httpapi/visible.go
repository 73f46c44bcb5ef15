package httpapi

import (
	"slices"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// Filtered are the routes that show a caller without the right on all that they ask about the part on which the caller has
// the right. Every other route is refused then.
var Filtered = []string{
	"GET /v1/services", "GET /v1/namespaces", "GET /v1/catalog", "GET /v1/streams/catalog", "GET /v1/history", "GET /v1/events", "GET /v1/streams/events",
	"GET /v1/sd/prometheus", "GET /v1/preservation",
}

// viewer is a caller who sees a part of what a request asks about.
type viewer struct {
	verb domain.Verb
	who  atomic.Pointer[web.Identity] // with its newest rights
}

const viewerField = "rollcall.viewer"

// see refuses a caller who has no right to what a request asks about, and notes one who has the right to a part of it. A
// request that is under way does not turn from everything to a part: it is refused.
func (a *api) see(c echo.Context, who *web.Identity, right Right, key domain.Key) error {
	err := who.May(right.Verb, key)
	v, limited := c.Get(viewerField).(*viewer)
	if err != nil && domain.AllowWithin(who.Grants, right.Verb, key.Namespace) && key.Service == "" && slices.Contains(Filtered, right.Route) && (limited || c.Get(decidedField) == nil) {
		if !limited {
			v, limited = &viewer{verb: right.Verb}, true
			c.Set(viewerField, v)
		}
		err = nil
	}
	if limited {
		v.who.Store(who)
	}
	c.Set(decidedField, true)
	return err
}

// secrets says whose secrets the caller of a request may see.
func secrets(c echo.Context) queries.Secrets { return secretsOf(web.IdentityOf(c)) }

// secretsOf says whose secrets a caller may see: those of the instances that it may write, whoever registered them, and of the
// webhooks that it may manage.
func secretsOf(who *web.Identity) queries.Secrets {
	if !who.Controlled() {
		return nil
	}
	return func(stream eventstore.StreamName) bool {
		if key, ok := stream.InstanceKey(); ok {
			return domain.Allow(who.Grants, domain.WriteInstances, key)
		}
		return domain.Allow(who.Grants, domain.ManageWebhooks, domain.Key{})
	}
}

// decidedField is set when it was decided once what a caller sees.
const decidedField = "rollcall.decided"

// visible is what the caller of a request may see; nil: all that it asks about.
func visible(c echo.Context) queries.Visible {
	v, ok := c.Get(viewerField).(*viewer)
	if !ok {
		return nil
	}
	return func(key domain.ServiceKey) bool {
		return domain.Allow(v.who.Load().Grants, v.verb, domain.Key{Namespace: key.Namespace, Service: key.Service})
	}
}
