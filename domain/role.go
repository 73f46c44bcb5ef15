package domain

import (
	"fmt"
	"time"
)

// Limits of roles and tokens. They are part of the public contract (docs/api).
const (
	MaxAccessName  = 128  // a role's or token's name; bytes
	MaxDescription = 1024 // bytes
	MaxRoleGrants  = 32   // grants of a role; a number
	MaxTokenRoles  = 16   // roles of a token; a number
	MaxTokenScope  = 32   // namespaces, services, ids or networks that a token is bound to; a number each

	// MaxKeepOld is how long the secret that a rotation replaces may stay good.
	MaxKeepOld = 30 * 24 * time.Hour
)

// RoleGrant is a grant as a role has it.
type RoleGrant struct {
	Verbs     []string `json:"verbs"`
	Namespace Pattern  `json:"namespace"`
	Service   Pattern  `json:"service"`
}

// Role is a named set of grants.
type Role struct {
	Name        string
	Description string
	Grants      []RoleGrant
	BuiltIn     bool
}

func everywhere(verbs Verb) []RoleGrant {
	return []RoleGrant{{Verbs: verbs.Names(), Namespace: "*", Service: "*"}}
}

// BuiltInRoles are the roles that every registry has. They cannot be changed.
func BuiltInRoles() []Role {
	return []Role{
		{Name: "reader", BuiltIn: true, Description: "looks up and follows services and instances", Grants: everywhere(ReadCatalog)},
		{Name: "service", BuiltIn: true, Description: "looks up, and keeps its own instances registered", Grants: everywhere(ReadCatalog | WriteOwn)},
		{Name: "operator", BuiltIn: true, Description: "everything but access itself", Grants: everywhere(AllVerbs &^ ManageAccess)},
		{Name: "auditor", BuiltIn: true, Description: "reads the history and the events", Grants: everywhere(ReadHistory | ReadEvents)},
		{Name: "admin", BuiltIn: true, Description: "everything", Grants: everywhere(AllVerbs)},
	}
}

func builtIn(name string) (Role, bool) {
	for _, r := range BuiltInRoles() {
		if r.Name == name {
			return r, true
		}
	}
	return Role{}, false
}

// validateGrants also makes the parts that are left out "*".
func validateGrants(grants []RoleGrant) ([]RoleGrant, error) {
	if len(grants) == 0 || len(grants) > MaxRoleGrants {
		return nil, InvalidField{Field: "grants", Rule: fmt.Sprintf("must be 1-%d", MaxRoleGrants)}
	}
	checked := make([]RoleGrant, len(grants))
	for i, g := range grants {
		if g.Namespace == "" {
			g.Namespace = "*"
		}
		if g.Service == "" {
			g.Service = "*"
		}
		field := element("grants", i) + "."
		verbs, err := ParseVerbs(field+"verbs", g.Verbs)
		if err == nil && verbs == 0 {
			err = InvalidField{Field: field + "verbs", Rule: "must name a verb"}
		}
		if err == nil {
			err = g.Namespace.validate(field+"namespace", ValidateLabel)
		}
		if err == nil {
			err = g.Service.validate(field+"service", ValidateService)
		}
		if err != nil {
			return nil, err
		}
		g.Verbs = verbs.Names()
		checked[i] = g
	}
	return checked, nil
}

// validateAccessName holds the name of a role or a token to its rule. It becomes the actor of events and a part of
// owners, which a colon ends.
func validateAccessName(field, name string) error {
	valid := len(name) > 0 && len(name) <= MaxAccessName && isAlphanumeric(name[0]) && isAlphanumeric(name[len(name)-1])
	for i := 0; valid && i < len(name); i++ {
		valid = inAccessName(name[i])
	}
	if !valid || reservedNames[name] {
		return InvalidField{Field: field, Rule: fmt.Sprintf("must be 1-%d bytes of A-Z a-z 0-9 . _ - @, starting and ending with a letter or digit, and not %s, %s or rollcall", MaxAccessName, Anonymous, LocalActor)}
	}
	return nil
}

func inAccessName(c byte) bool {
	return isAlphanumeric(c) || c == '.' || c == '_' || c == '-' || c == '@'
}

// ValidateRoleName holds a name to the rule of roles. The role need not exist.
func ValidateRoleName(field, name string) error {
	if _, ok := builtIn(name); ok {
		return nil
	}
	return validateAccessName(field, name)
}

// LocalActor is the actor of requests that come through the socket in the data folder.
const LocalActor = "local"

// reservedNames are actors that no token may pass for.
var reservedNames = map[string]bool{Anonymous: true, LocalActor: true, "rollcall": true}
