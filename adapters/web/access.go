package web

import (
	"bytes"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/access"
)

// Access says who callers are and what they may do. A nil *Access lets everybody do everything.
type Access struct {
	Tokens    *access.Table
	Anonymous []domain.Grant // of callers without a token
	Now       func() time.Time
}

// Identity is who makes a request.
type Identity struct {
	Name   string // the actor of events
	Grants []domain.Grant
	Local  bool // the request came through the socket in the data folder

	access  *Access // nil: access is not controlled, or the identity is the socket's
	bearer  *access.Bearer
	secret  domain.SecretHash // of the bearer
	address netip.Addr
	version uint64 // of the table of tokens that the grants are from
}

var everything = []domain.Grant{{Verbs: domain.AllVerbs, Namespace: "*", Service: "*", Instance: "*"}}

var (
	anybody = &Identity{Name: domain.Anonymous, Grants: everything}
	local   = &Identity{Name: domain.LocalActor, Grants: everything, Local: true}
)

// unauthorized is the one answer to a token that is missing, malformed, unknown, expired, revoked or used from elsewhere.
var unauthorized = NewProblem(http.StatusUnauthorized, "unauthorized", "The request needs a token", "send Authorization: Bearer with a token that is good here")

// Challenge is the WWW-Authenticate of a 401.
const Challenge = `Bearer realm="rollcall"`

// Identify says who makes a request: the socket's user, the bearer of a token, or nobody in particular.
func (a *Access) Identify(r *http.Request) (*Identity, error) {
	if IsLocal(r.Context()) {
		if proxied(r) {
			return nil, unauthorized // a proxy before the socket must not make everybody local
		}
		return local, nil
	}
	if a == nil {
		return anybody, nil
	}
	switch sent := r.Header["Authorization"]; len(sent) {
	case 0:
		return a.Authorize(nil, r.RemoteAddr)
	case 1:
		return a.Authorize([]byte(sent[0]), r.RemoteAddr)
	}
	return nil, unauthorized
}

// Authorize says who sends an Authorization header (nil: none) from an address.
func (a *Access) Authorize(authorization []byte, from string) (*Identity, error) {
	if a == nil {
		return anybody, nil
	}
	version := a.Tokens.Version() // before the look-up: a change during it is noticed
	if authorization == nil {
		return &Identity{Name: domain.Anonymous, Grants: a.Anonymous, access: a, version: version}, nil
	}
	scheme, secret, _ := bytes.Cut(authorization, []byte{' '})
	hash, ok := commands.HashSecret(bytes.TrimLeft(secret, " "))
	if !ok || !bytes.EqualFold(scheme, []byte("Bearer")) {
		return nil, unauthorized
	}
	id := &Identity{access: a, secret: hash, version: version, bearer: a.Tokens.Find(hash)}
	id.address = AddressOf(from)
	if id.bearer == nil || !id.bearer.Admits(a.Now(), id.address) {
		return nil, unauthorized
	}
	id.Name, id.Grants = id.bearer.Name, id.bearer.Grants
	id.bearer.Used(a.Now())
	return id, nil
}

// Still says whether the identity is what it was: whoever waits or streams asks again before each reply. It allocates
// nothing as long as no token or role has changed.
func (i *Identity) Still() bool {
	if i.bearer == nil {
		return true
	}
	now := i.access.Now()
	if i.version == i.access.Tokens.Version() {
		i.bearer.Used(now)
		return i.bearer.Admits(now, i.address)
	}
	return false
}

// Renewed is the identity with its present rights, or an error when it has ended.
func (i *Identity) Renewed() (*Identity, error) {
	if i.Still() {
		return i, nil
	}
	version := i.access.Tokens.Version()
	bearer := i.access.Tokens.Find(i.secret)
	if bearer == nil || !bearer.Admits(i.access.Now(), i.address) {
		return nil, unauthorized
	}
	renewed := *i
	renewed.version, renewed.bearer, renewed.Grants = version, bearer, bearer.Grants
	return &renewed, nil
}

// Controlled says whether the identity's rights are limited at all.
func (i *Identity) Controlled() bool { return i.access != nil }

// May refuses what the identity has no right to: a key's empty parts stand for all (domain.Allow).
func (i *Identity) May(verb domain.Verb, key domain.Key) error {
	if domain.Allow(i.Grants, verb, key) {
		return nil
	}
	return i.Refusal(verb, key)
}

// MaySomewhere refuses who has none of the verbs for anything.
func (i *Identity) MaySomewhere(verb domain.Verb) error {
	if domain.AllowAnywhere(i.Grants, verb) {
		return nil
	}
	return i.Refusal(verb, domain.Key{})
}

// Refusal asks a caller without a token for one, and tells any other which right is lacking.
func (i *Identity) Refusal(verb domain.Verb, key domain.Key) error {
	if i.bearer == nil {
		return unauthorized
	}
	return domain.Forbidden{Actor: i.Name, Verb: verb, Key: key}
}

// Holder is whose instances a command that needs the right to write may change: "" for any, the identity's name for its
// own only.
func (i *Identity) Holder(any domain.Verb, key domain.Key) (holder string, err error) {
	if domain.Allow(i.Grants, any, key) {
		return "", nil
	}
	if domain.Allow(i.Grants, domain.WriteOwn, key) {
		return i.Name, nil
	}
	return "", i.Refusal(any|domain.WriteOwn, key)
}

// Command is a command as the identity may give it, or why it may not.
func (i *Identity) Command(command domain.Command) (domain.Command, error) {
	if !i.Controlled() {
		return command, nil
	}
	key, verb := command.Instance(), domain.WriteInstances
	if _, traffic := command.(domain.ChangeTraffic); traffic {
		verb = domain.ChangeInstanceTraffic
	}
	holder, err := i.Holder(verb, key)
	if err != nil {
		return nil, err
	}
	switch c := command.(type) {
	case domain.RegisterInstance:
		if holder != "" && c.Owner == "" {
			c.Owner = holder
		}
		if holder != "" && !domain.Holds(holder, c.Owner) {
			return nil, domain.InvalidField{Field: "owner", Rule: "must be left out, be the token's name, or begin with the name and a colon"}
		}
		c.Holder = holder
		return c, nil
	case domain.SendHeartbeat:
		c.Holder = holder
		return c, nil
	case domain.ReportHealth:
		if c.Source == domain.FromOperator {
			if err := i.May(domain.ChangeInstanceTraffic, key); err != nil {
				return nil, err
			}
		}
		c.Holder = holder
		return c, nil
	case domain.ChangeTraffic:
		c.Holder = holder
		return c, nil
	case domain.DeregisterInstance:
		c.Holder = holder
		return c, nil
	}
	return nil, i.Refusal(domain.Operate, key)
}

const identityField = "rollcall.identity"

// SetIdentity keeps who makes a request.
func SetIdentity(c echo.Context, i *Identity) {
	if i != anybody {
		c.Set(identityField, i)
	}
}

// IdentityOf is who makes a request: nobody in particular where nobody was set.
func IdentityOf(c echo.Context) *Identity {
	if i, ok := c.Get(identityField).(*Identity); ok {
		return i
	}
	return anybody
}
