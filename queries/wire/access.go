package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Token is a token without its secret.
type Token struct {
	Name string `json:"name"`
	domain.TokenSpec
	Revoked  bool       `json:"revoked,omitempty"`
	Reason   string     `json:"reason,omitempty"`    // of the revocation
	LastUsed *time.Time `json:"last_used,omitempty"` // to the minute, on the node that answers; nil: not since its start
	Secret   string     `json:"secret,omitempty"`    // only in the reply that made it
}

// TokenList lists tokens.
type TokenList struct {
	Tokens []Token `json:"tokens"`
}

// Role is a role and what it grants.
type Role struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Grants      []domain.RoleGrant `json:"grants"`
	BuiltIn     bool               `json:"built_in,omitempty"`
}

// RoleList lists roles.
type RoleList struct {
	Roles []Role `json:"roles"`
}

// NewToken is a token to be made.
type NewToken struct {
	Name string `json:"name"`
	domain.TokenSpec
}

// Rotation is how a token gets another secret.
type Rotation struct {
	KeepOld domain.Duration `json:"keep_old,omitempty"` // how long the secret before stays good, too; 0: not at all
	Expires *time.Time      `json:"expires,omitempty"`  // of the token from now on; nil: as it was
}

// RoleChange is what a role is to grant.
type RoleChange struct {
	Description string             `json:"description,omitempty"`
	Grants      []domain.RoleGrant `json:"grants"`
}
