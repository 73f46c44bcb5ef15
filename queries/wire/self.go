package wire

import "github.com/rollcall-registry/rollcall/domain"

// Self is who a caller is, and what the caller may do.
type Self struct {
	Name       string  `json:"name"`
	Controlled bool    `json:"controlled"`      // access is controlled: a token may give more rights
	Owner      string  `json:"owner,omitempty"` // an instance is the caller's own if its owner is this, or begins with this and a colon; "": access is not controlled
	Grants     []Grant `json:"grants"`
}

// Grant lets a caller do what the verbs say to what the patterns name.
type Grant struct {
	Verbs     []string       `json:"verbs"`
	Namespace domain.Pattern `json:"namespace"`
	Service   domain.Pattern `json:"service"`
	Instance  domain.Pattern `json:"instance"` // limits the verbs that change an instance
}
