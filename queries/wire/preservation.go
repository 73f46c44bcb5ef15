package wire

import "time"

// Preservation is where expiry is held.
type Preservation struct {
	Position   Position                `json:"position"` // up to where the registry's log was looked at
	Namespaces []NamespacePreservation `json:"namespaces"`
}

// NamespacePreservation is what holds for one namespace. The name "*" stands for those that are not named.
type NamespacePreservation struct {
	Namespace string     `json:"namespace"`
	Held      bool       `json:"held"`
	Forced    bool       `json:"forced"`           // an operator holds expiry
	Since     *time.Time `json:"since,omitempty"`  // when that was decided; absent: it never was
	Actor     string     `json:"actor,omitempty"`  // who decided it
	Reason    string     `json:"reason,omitempty"` // an operator's
	Leases    int        `json:"leases"`
	Overdue   int        `json:"overdue"` // leases past their deadline
}

// ExpiryHeld says that no lease of a namespace expires, so that instances are kept that may be gone.
type ExpiryHeld struct {
	Since  time.Time `json:"since"`
	Forced bool      `json:"forced"`          // an operator holds expiry
	Actor  string    `json:"actor,omitempty"` // who decided it
	Reason string    `json:"reason,omitempty"`
}

// PreservationChange is an operator's decision.
type PreservationChange struct {
	Held   *bool  `json:"held"` // hold expiry, or end that
	Reason string `json:"reason,omitempty"`
}
