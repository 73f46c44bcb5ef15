package domain

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Names of the event types of the access stream.
const (
	TypeTokenCreated = "TokenCreated"
	TypeTokenRotated = "TokenRotated"
	TypeTokenRevoked = "TokenRevoked"
	TypeRoleSet      = "RoleSet"
	TypeRoleRemoved  = "RoleRemoved"
)

// AccessTypes are the types of the events in the access stream.
var AccessTypes = []string{TypeTokenCreated, TypeTokenRotated, TypeTokenRevoked, TypeRoleSet, TypeRoleRemoved}

// SecretHash is the SHA-256 of a token's secret. A secret has 256 random bits, so the hash needs no salt.
type SecretHash [32]byte

// MarshalText writes the hash in hexadecimal.
func (h SecretHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *SecretHash) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(h[:], text[:min(len(text), 64)]); err != nil || n != len(h) || len(text) != 64 {
		return InvalidField{Field: "sha256", Rule: "must be 64 hexadecimal digits"}
	}
	return nil
}

// TokenSpec is what a token lets its bearer do. Each list that is there narrows the roles. A list without elements is refused: whoever
// wrote it had nothing to fill in, and does not mean everything.
type TokenSpec struct {
	Description string    `json:"description,omitempty"`
	Roles       []string  `json:"roles"`
	Namespaces  []Pattern `json:"namespaces,omitzero"` // nil: those of the roles
	Services    []Pattern `json:"services,omitzero"`   // nil: those of the roles
	Instances   []Pattern `json:"instances,omitzero"`  // ids that may be changed; nil: all
	Networks    []string  `json:"networks,omitzero"`   // addresses that may use it, as 10.0.0.0/8; nil: all
	Expires     time.Time `json:"expires,omitzero"`    // zero: never
}

// TokenCreated begins a token. The name is the actor of whatever its bearer does.
type TokenCreated struct {
	Name string `json:"name"`
	TokenSpec
	SHA256 SecretHash `json:"sha256"` // of the secret, which stands nowhere
}

// TokenRotated gives a token another secret.
type TokenRotated struct {
	Name     string     `json:"name"`
	SHA256   SecretHash `json:"sha256"`
	Expires  time.Time  `json:"expires,omitzero"`   // of the token, from now on; zero: never
	OldUntil time.Time  `json:"old_until,omitzero"` // until when the secret before is good, too; zero: no longer
}

// TokenRevoked ends a token for ever.
type TokenRevoked struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
}

// RoleSet makes a role, or gives it other grants.
type RoleSet struct {
	Name        string      `json:"name"`
	Description string      `json:"description,omitempty"`
	Grants      []RoleGrant `json:"grants"`
}

// RoleRemoved ends a role.
type RoleRemoved struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
}

func (TokenCreated) EventType() string { return TypeTokenCreated }
func (TokenRotated) EventType() string { return TypeTokenRotated }
func (TokenRevoked) EventType() string { return TypeTokenRevoked }
func (RoleSet) EventType() string      { return TypeRoleSet }
func (RoleRemoved) EventType() string  { return TypeRoleRemoved }

// Token is a token's state.
type Token struct {
	Name     string
	Spec     TokenSpec
	Secret   SecretHash
	Old      SecretHash // the secret before, while OldUntil is not over
	OldUntil time.Time
	Revoked  bool
	Reason   string // of the revocation
}

// Access is the state of tokens and roles: the fold of the access stream. The zero value is that of no events.
type Access struct {
	Tokens map[string]Token
	Own    map[string]Role // roles that are not built in
	Events uint64          // revision of the stream, plus one
}

// Role finds a role by its name.
func (a *Access) Role(name string) (Role, bool) {
	if r, ok := builtIn(name); ok {
		return r, true
	}
	r, ok := a.Own[name]
	return r, ok
}

// The commands to tokens and roles.
type (
	// CreateToken makes a token. A name is used once, also after its token was revoked: the history stays clear.
	CreateToken struct {
		Name   string
		Spec   TokenSpec
		Secret SecretHash
	}
	// RotateToken gives a token another secret.
	RotateToken struct {
		Name     string
		Secret   SecretHash
		Expires  *time.Time // nil: as it was
		OldUntil time.Time
	}
	// RevokeToken ends a token.
	RevokeToken struct{ Name, Reason string }
	// SetRole makes a role, or gives it other grants.
	SetRole struct {
		Name, Description string
		Grants            []RoleGrant
	}
	// RemoveRole ends a role that no token has.
	RemoveRole struct{ Name, Reason string }
)

// AccessCommand is a command to tokens and roles.
type AccessCommand interface{ access() }

func (CreateToken) access() {}
func (RotateToken) access() {}
func (RevokeToken) access() {}
func (SetRole) access()     {}
func (RemoveRole) access()  {}

// UnknownToken refuses a command to a token that was never made, or was revoked.
type UnknownToken struct {
	Name    string
	Revoked bool
}

func (e UnknownToken) Error() string {
	if e.Revoked {
		return fmt.Sprintf("token %s was revoked", e.Name)
	}
	return fmt.Sprintf("token %s does not exist", e.Name)
}

// UnknownRole refuses a command to a role that does not exist.
type UnknownRole struct{ Name string }

func (e UnknownRole) Error() string { return fmt.Sprintf("role %s does not exist", e.Name) }

// Taken refuses a token whose name another has, or had.
type Taken struct{ Name string }

func (e Taken) Error() string {
	return fmt.Sprintf("there is, or was, a token %s; a name is used once", e.Name)
}

// RoleInUse refuses to remove a role that a token has, or a rule of the node's file names.
type RoleInUse struct{ Role, Token string } // Token "": a rule names the role

func (e RoleInUse) Error() string {
	if e.Token == "" {
		return fmt.Sprintf("a rule of --access-config names the role %s", e.Role)
	}
	return fmt.Sprintf("token %s has the role %s", e.Token, e.Role)
}

// Decide answers a command: at most one event, none when it asks for what is. It changes nothing.
func (a *Access) Decide(command AccessCommand) (Event, error) {
	switch c := command.(type) {
	case CreateToken:
		return a.createToken(c)
	case RotateToken:
		t, err := a.token(c.Name)
		if err != nil {
			return nil, err
		}
		expires := t.Spec.Expires
		if c.Expires != nil {
			expires = *c.Expires
		}
		return TokenRotated{Name: c.Name, SHA256: c.Secret, Expires: expires, OldUntil: c.OldUntil}, nil
	case RevokeToken:
		t, ok := a.Tokens[c.Name]
		if !ok {
			return nil, UnknownToken{Name: c.Name}
		}
		err := ValidateReason(c.Reason)
		if t.Revoked {
			return nil, err
		}
		return TokenRevoked(c), err
	case SetRole:
		return a.setRole(c)
	case RemoveRole:
		return a.removeRole(c)
	}
	panic(fmt.Sprintf("domain: no rule for command %T", command))
}

func (a *Access) token(name string) (Token, error) {
	t, ok := a.Tokens[name]
	if !ok || t.Revoked {
		return t, UnknownToken{Name: name, Revoked: ok}
	}
	return t, nil
}

func (a *Access) createToken(c CreateToken) (Event, error) {
	if err := validateAccessName("name", c.Name); err != nil {
		return nil, err
	}
	if _, taken := a.Tokens[c.Name]; taken {
		return nil, Taken{Name: c.Name}
	}
	if err := c.Spec.Validate(); err != nil {
		return nil, err
	}
	for i, name := range c.Spec.Roles {
		if _, ok := a.Role(name); !ok {
			return nil, InvalidField{Field: element("roles", i), Rule: "must be a role that exists: reader, service, operator, auditor, admin, or those of rollcall role"}
		}
	}
	return TokenCreated{Name: c.Name, TokenSpec: c.Spec, SHA256: c.Secret}, nil
}

// Validate holds the description, the number of roles and the bounds to their rules. The roles need not exist.
func (s TokenSpec) Validate() error {
	if err := validateText("description", s.Description, 0, MaxDescription); err != nil {
		return err
	}
	if len(s.Roles) == 0 || len(s.Roles) > MaxTokenRoles {
		return InvalidField{Field: "roles", Rule: fmt.Sprintf("must be 1-%d", MaxTokenRoles)}
	}
	for _, list := range []struct {
		field    string
		patterns []Pattern
		legal    func(field, name string) error
	}{{"namespaces", s.Namespaces, ValidateLabel}, {"services", s.Services, ValidateService}, {"instances", s.Instances, validateID}} {
		if err := validateScope(list.field, list.patterns); err != nil {
			return err
		}
		for i, p := range list.patterns {
			if err := p.validate(element(list.field, i), list.legal); err != nil {
				return err
			}
		}
	}
	if err := validateScope("networks", s.Networks); err != nil {
		return err
	}
	for i, n := range s.Networks {
		if _, err := netip.ParsePrefix(n); err != nil {
			return InvalidField{Field: element("networks", i), Rule: "must be like 10.0.0.0/8 or 2001:db8::/32"}
		}
	}
	return nil
}

// validateScope holds the length of a list that narrows to its rule.
func validateScope[T any](field string, list []T) error {
	switch {
	case list != nil && len(list) == 0:
		return InvalidField{Field: field, Rule: "must not be empty: leave it out to narrow nothing"}
	case len(list) > MaxTokenScope:
		return InvalidField{Field: field, Rule: fmt.Sprintf("must be at most %d", MaxTokenScope)}
	}
	return nil
}

func (a *Access) setRole(c SetRole) (Event, error) {
	if _, ok := builtIn(c.Name); ok {
		return nil, InvalidField{Field: "name", Rule: "must not be that of a built-in role"}
	}
	if err := validateAccessName("name", c.Name); err != nil {
		return nil, err
	}
	if err := validateText("description", c.Description, 0, MaxDescription); err != nil {
		return nil, err
	}
	grants, err := validateGrants(c.Grants)
	if err != nil {
		return nil, err
	}
	if r, ok := a.Own[c.Name]; ok && r.Description == c.Description && slices.EqualFunc(r.Grants, grants, sameGrant) {
		return nil, nil
	}
	return RoleSet{Name: c.Name, Description: c.Description, Grants: grants}, nil
}

func sameGrant(a, b RoleGrant) bool {
	return a.Namespace == b.Namespace && a.Service == b.Service && slices.Equal(a.Verbs, b.Verbs)
}

func (a *Access) removeRole(c RemoveRole) (Event, error) {
	if _, ok := builtIn(c.Name); ok {
		return nil, InvalidField{Field: "name", Rule: "must not be that of a built-in role"}
	}
	if _, ok := a.Own[c.Name]; !ok {
		return nil, UnknownRole{Name: c.Name}
	}
	using := ""
	for name, t := range a.Tokens {
		if !t.Revoked && slices.Contains(t.Spec.Roles, c.Name) && (using == "" || name < using) {
			using = name
		}
	}
	if using != "" {
		return nil, RoleInUse{Role: c.Name, Token: using}
	}
	return RoleRemoved(c), ValidateReason(c.Reason)
}

// Apply folds one event of the access stream into the state.
func (a *Access) Apply(event Event) {
	if a.Tokens == nil {
		a.Tokens, a.Own = map[string]Token{}, map[string]Role{}
	}
	a.Events++
	switch e := event.(type) {
	case TokenCreated:
		a.Tokens[e.Name] = Token{Name: e.Name, Spec: e.TokenSpec, Secret: e.SHA256}
	case TokenRotated:
		if t, ok := a.Tokens[e.Name]; ok {
			t.Old, t.OldUntil = t.Secret, e.OldUntil
			t.Secret, t.Spec.Expires = e.SHA256, e.Expires
			a.Tokens[e.Name] = t
		}
	case TokenRevoked:
		if t, ok := a.Tokens[e.Name]; ok {
			t.Revoked, t.Reason = true, e.Reason
			a.Tokens[e.Name] = t
		}
	case RoleSet:
		a.Own[e.Name] = Role{Name: e.Name, Description: e.Description, Grants: e.Grants}
	case RoleRemoved:
		delete(a.Own, e.Name)
	}
}

// At says whether the spec is good at an address.
func (s TokenSpec) At(address netip.Addr) bool {
	address = address.Unmap()
	return len(s.Networks) == 0 || slices.ContainsFunc(s.Networks, func(network string) bool {
		p, err := netip.ParsePrefix(network)
		return err == nil && p.Contains(address)
	})
}

// Grants are what a token's roles grant, narrowed to what the token is bound to. A role that is gone grants nothing.
func (a *Access) Grants(spec TokenSpec) (grants []Grant) {
	for _, name := range spec.Roles {
		role, _ := a.Role(name)
		for _, g := range role.Grants {
			verbs, err := ParseVerbs("verbs", g.Verbs)
			if err != nil {
				continue // a newer version's verb: it grants nothing here
			}
			for _, namespace := range narrowed(g.Namespace, spec.Namespaces) {
				for _, service := range narrowed(g.Service, spec.Services) {
					for _, instance := range narrowed("*", spec.Instances) {
						grants = append(grants, Grant{Verbs: verbs, Namespace: namespace, Service: service, Instance: instance})
					}
				}
			}
		}
	}
	return slices.Clip(grants)
}

func narrowed(p Pattern, to []Pattern) (all []Pattern) {
	if len(to) == 0 {
		return []Pattern{p}
	}
	for _, q := range to {
		if both, ok := p.And(q); ok {
			all = append(all, both)
		}
	}
	return all
}
