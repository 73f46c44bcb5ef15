package web

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/access"
)

// Access says who callers are and what they may do. With a nil *Access every caller may do everything.
type Access struct {
	Tokens  *access.Table
	Vouched Vouched // nil: callers are known by the registry's tokens only, and others may do nothing
	Now     func() time.Time
	// Stale says that this node has not been level with the others for too long to decide who may do what by its own copy of
	// tokens and roles (ADR 089); nil: it always decides.
	Stale func() bool

	nobody Caller                    // has the grants of anonymous callers
	told   [methods][2]atomic.Uint64 // how many were refused and accepted
}

// Identity is the caller of a request.
type Identity struct {
	Name   string // the actor of events
	Grants []domain.Grant
	Local  bool // the request came through the socket in the data folder

	access  *Access        // nil: access is not controlled, or the identity is the socket's
	bearer  *access.Bearer // of a token of the registry; nil: the caller is another
	caller  *Caller        // whom others vouch for, or who is anonymous; nil: there is a bearer
	address netip.Addr
	version uint64 // of what the grants are from
}

var everything = []domain.Grant{{Verbs: domain.AllVerbs, Namespace: "*", Service: "*", Instance: "*"}}

var (
	anybody = &Identity{Name: domain.Anonymous, Grants: everything}
	local   = &Identity{Name: domain.LocalActor, Grants: everything, Local: true}
)

// unauthorized is the one answer to a token that is missing, malformed, unknown, expired, revoked or used from elsewhere.
var unauthorized = NewProblem(http.StatusUnauthorized, "unauthorized", "The request needs a token", "send Authorization: Bearer with a token that is good here")

// tooStale refuses every request but those through the socket. A client of several nodes goes on at another one.
var tooStale = NewProblem(http.StatusServiceUnavailable, "not-ready", "The node does not know who may do what",
	"this node has not reached the others for so long that a token may have been revoked since: ask another node (--access-max-stale)")

func (a *Access) stale() bool { return a.Stale != nil && a.Stale() }

// Challenge is the WWW-Authenticate of a 401.
const Challenge = `Bearer realm="rollcall"`

// Identify says who makes a request: the socket's user, the bearer of a token, whom a certificate names, or nobody in
// particular. A token that is sent counts more than a certificate.
func (a *Access) Identify(r *http.Request) (*Identity, error) {
	if IsLocal(r.Context()) {
		if proxied(r) {
			return nil, unauthorized // a proxy before the socket must not make everybody local
		}
		return local, nil
	}
	if a == nil {
		return uncontrolled(CertificateOf(r.TLS)), nil
	}
	if a.stale() {
		return nil, tooStale
	}
	switch sent := r.Header["Authorization"]; len(sent) {
	case 0:
		return a.unnamed(a.version(), CertificateOf(r.TLS), AddressOf(r.RemoteAddr)), nil
	case 1:
		id, by := a.authorize([]byte(sent[0]), r.RemoteAddr, func(token []byte) *Caller { return a.Vouched.Verify(r.Context(), token) })
		if id == nil {
			return nil, a.refuse(by)
		}
		return id, nil
	}
	return nil, a.refuse(ByToken)
}

// Authorize says who sends an Authorization header (nil: none) from an address over a connection with a verified
// certificate (nil: none), by what is known already: an issuer's token that was not verified before is refused. A refusal is
// not counted, because Identify decides about the request then.
func (a *Access) Authorize(authorization []byte, from string, certificate *x509.Certificate) (*Identity, error) {
	if a == nil {
		return uncontrolled(certificate), nil
	}
	if a.stale() {
		return nil, tooStale
	}
	if authorization == nil {
		return a.unnamed(a.version(), certificate, AddressOf(from)), nil
	}
	id, _ := a.authorize(authorization, from, func(token []byte) *Caller { return a.Vouched.Remembered(token) })
	if id == nil {
		return nil, unauthorized
	}
	return id, nil
}

// MustVerify says whether the signature of a token must be checked to say who makes a request. That costs more than to refuse a
// request, so whoever asks for it is limited before.
func (a *Access) MustVerify(r *http.Request) bool {
	if a == nil || a.Vouched == nil || IsLocal(r.Context()) || len(r.Header["Authorization"]) != 1 {
		return false
	}
	_, token, _ := strings.Cut(r.Header["Authorization"][0], " ")
	token = strings.TrimLeft(token, " ")
	return strings.Count(token, ".") == 2 && a.Vouched.Remembered([]byte(token)) == nil
}

// authorize says whose an Authorization header is (nil: nobody's), and by which method that was decided.
func (a *Access) authorize(authorization []byte, from string, vouched func(token []byte) *Caller) (id *Identity, by Method) {
	version := a.version() // before the look-up: a change during it is noticed
	scheme, secret, _ := bytes.Cut(authorization, []byte{' '})
	if !bytes.EqualFold(scheme, []byte("Bearer")) {
		return nil, ByToken
	}
	secret = bytes.TrimLeft(secret, " ")
	if bytes.Count(secret, []byte{'.'}) == 2 { // the registry's tokens have none
		if a.Vouched == nil {
			return nil, ByJWT
		}
		caller := vouched(secret)
		if caller == nil || !caller.admitted(a.Now()) {
			return nil, ByJWT
		}
		return a.identity(version, caller, AddressOf(from)), ByJWT
	}
	hash, ok := commands.HashSecret(secret)
	if !ok {
		return nil, ByToken
	}
	id = &Identity{access: a, version: version, bearer: a.Tokens.Find(hash), address: AddressOf(from)}
	if id.bearer == nil || !id.bearer.Admits(a.Now(), id.address) {
		return nil, ByToken
	}
	id.Name, id.Grants = id.bearer.Name, id.bearer.Grants
	id.bearer.Used(a.Now())
	a.tell(ByToken, true)
	return id, ByToken
}

// Still says whether the identity is what it was: whoever waits or streams asks again before each reply. It allocates
// nothing as long as no token, role or rule has changed.
func (i *Identity) Still() bool {
	if i.access == nil {
		return true
	}
	if i.version != i.access.version() || i.access.stale() {
		return false
	}
	if i.bearer == nil {
		return i.caller.Expires.IsZero() || i.caller.admitted(i.access.Now())
	}
	now := i.access.Now()
	i.bearer.Used(now)
	return i.bearer.Admits(now, i.address)
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

// MaySomewhere refuses a caller who has none of the verbs anywhere.
func (i *Identity) MaySomewhere(verb domain.Verb) error {
	if domain.AllowAnywhere(i.Grants, verb) {
		return nil
	}
	return i.Refusal(verb, domain.Key{})
}

// Refusal asks a caller for a token whom nothing gives a right, and tells any other which right is lacking.
func (i *Identity) Refusal(verb domain.Verb, key domain.Key) error {
	if c := i.caller; c != nil && (c.By == ByNothing || c.By == ByCertificate && len(c.Rights) == 0) {
		return unauthorized
	}
	return domain.Forbidden{Actor: i.Name, Verb: verb, Key: key}
}

// Holder is whose instances a command that needs the right to write may change: "" for any, the identity's holder
// for its own only.
func (i *Identity) Holder(any domain.Verb, key domain.Key) (holder string, err error) {
	if domain.Allow(i.Grants, any, key) {
		return "", nil
	}
	if domain.Allow(i.Grants, domain.WriteOwn, key) {
		return i.Own(), nil
	}
	return "", i.Refusal(any|domain.WriteOwn, key)
}

// Own is the beginning of the owners that are the identity's: of what it registered (domain.Holds).
func (i *Identity) Own() string {
	if i.caller != nil && i.caller.holder != "" {
		return i.caller.holder
	}
	return i.Name
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
		if err := held(&c, holder); err != nil {
			return nil, err
		}
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
	case domain.AddCheck:
		c.Holder = holder
		return c, nil
	case domain.RemoveCheck:
		c.Holder = holder
		return c, nil
	case domain.ReportCheck:
		c.Holder = holder
		return c, nil
	}
	return nil, i.Refusal(domain.Operate, key)
}

// Register is Command of a registration: it changes the registration to what the identity may give.
func (i *Identity) Register(registration *domain.RegisterInstance) error {
	if !i.Controlled() {
		return nil
	}
	holder, err := i.Holder(domain.WriteInstances, registration.Key)
	if err != nil {
		return err
	}
	return held(registration, holder)
}

// held has the registration reach only what belongs to the holder; "": anything.
func held(registration *domain.RegisterInstance, holder string) error {
	if holder != "" && registration.Owner == "" {
		registration.Owner = holder
	}
	if holder != "" && !domain.Holds(holder, registration.Owner) {
		return domain.InvalidField{Field: "owner", Rule: "must be left out, be " + holder + ", or begin with that and a colon"}
	}
	registration.Holder = holder
	return nil
}

const identityField = "rollcall.identity"

// SetIdentity keeps the caller of a request.
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
