package web

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Vouched knows callers for whom others vouch: issuers of tokens (JWT), and the authorities of certificates.
type Vouched interface {
	// Verify says whom an issuer's token names; nil: the token is not good here. It may wait for the issuer's keys.
	Verify(ctx context.Context, token []byte) *Caller
	// Remembered says the same of a token that was verified before; nil: it was not, or not lately. It never waits.
	Remembered(token []byte) *Caller
	// Workload says whom the certificate of a client names; nil: nobody.
	Workload(*x509.Certificate) *Caller
	// Anonymous is what callers have that nothing names.
	Anonymous() []domain.TokenSpec
	// Version changes when any answer may have changed.
	Version() uint64
}

// Caller is whom an issuer's token or a certificate names. What is exported does not change. The zero value is an
// anonymous caller.
type Caller struct {
	Name    string // the actor of events; no name of a token
	By      Method
	Rights  []domain.TokenSpec // what the rules grant; none: no rule fits, and the caller has what anonymous callers have
	Expires time.Time          // the first moment at which the caller is not admitted; zero: there is none

	holder string
	grants atomic.Pointer[resolved]
}

// resolved are the grants of a caller at a version of roles and rules.
type resolved struct {
	version uint64
	grants  []domain.Grant
}

// NewCaller makes a caller.
func NewCaller(by Method, name string, rights []domain.TokenSpec, expires time.Time) *Caller {
	return &Caller{Name: name, By: by, Rights: rights, Expires: expires, holder: domain.HolderNamed(name)}
}

func (c *Caller) admitted(now time.Time) bool { return c.Expires.IsZero() || now.Before(c.Expires) }

// Method is how a caller is known.
type Method int

// The methods.
const (
	ByNothing Method = iota
	ByToken
	ByJWT
	ByCertificate
	methods
)

// Methods are the names of the methods, in the order of their values.
var Methods = [methods]string{"none", "token", "jwt", "certificate"}

// version changes when a token, a role or a rule has changed.
func (a *Access) version() uint64 {
	version := a.Tokens.Version()
	if a.Vouched != nil {
		version += a.Vouched.Version() // both only grow, so the sum changes with each
	}
	return version
}

// unnamed is the identity of a caller without a token: the name of the certificate, or nobody in particular.
func (a *Access) unnamed(version uint64, certificate *x509.Certificate, from netip.Addr) *Identity {
	if a.Vouched != nil && certificate != nil {
		if c := a.Vouched.Workload(certificate); c != nil && c.admitted(a.Now()) {
			return a.identity(version, c, from)
		}
	}
	return a.identity(version, &a.nobody, from)
}

// uncontrolled is who may do everything, since access is not controlled: whom the certificate names, or nobody in
// particular.
func uncontrolled(certificate *x509.Certificate) *Identity {
	if certificate != nil {
		if name := NameOf(certificate); name != "" {
			return &Identity{Name: name, Grants: everything}
		}
	}
	return anybody
}

// identity is a caller at an address with the grants of the present roles.
func (a *Access) identity(version uint64, c *Caller, from netip.Addr) *Identity {
	a.tell(c.By, true)
	now := c.grants.Load()
	if now == nil || now.version != version {
		rights, bound := a.rightsAt(c, from)
		now = &resolved{version, a.Tokens.Grants(rights)}
		if !bound {
			c.grants.Store(now)
		}
	}
	return &Identity{Name: cmp.Or(c.Name, domain.Anonymous), Grants: now.grants, access: a, caller: c, version: version}
}

// rightsAt are the rights of a caller at an address: those of anonymous callers, where no rule fits. bound says that they can be
// others at another address.
func (a *Access) rightsAt(c *Caller, from netip.Addr) (rights []domain.TokenSpec, bound bool) {
	pick := func(all []domain.TokenSpec) {
		for _, spec := range all {
			bound = bound || len(spec.Networks) > 0
			if spec.At(from) {
				rights = append(rights, spec)
			}
		}
	}
	if pick(c.Rights); len(rights) == 0 && a.Vouched != nil {
		pick(a.Vouched.Anonymous())
	}
	return rights, bound
}

// refuse counts a caller who is not who the caller claims to be.
func (a *Access) refuse(by Method) error {
	a.tell(by, false)
	return unauthorized
}

func (a *Access) tell(by Method, accepted bool) {
	result := 0
	if accepted {
		result = 1
	}
	a.told[by][result].Add(1)
}

// Told is how many callers were accepted, or refused, by a method: each request is counted, in the lane each connection.
func (a *Access) Told(by Method, accepted bool) uint64 {
	switch {
	case a == nil:
		return 0
	case accepted:
		return a.told[by][1].Load()
	}
	return a.told[by][0].Load()
}
