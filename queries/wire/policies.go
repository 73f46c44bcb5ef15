package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Policy is a policy as it stands.
type Policy struct {
	Name string `json:"name"`
	domain.PolicySpec
	SetBy string    `json:"set_by"`
	SetAt time.Time `json:"set_at"`
	Notes []string  `json:"notes,omitempty"` // what cannot be as the policy asks for, now
}

// PolicyList lists policies by name.
type PolicyList struct {
	Policies []Policy `json:"policies"`
}

// Guard says which policy refuses a removal, and the numbers on which it was judged.
type Guard struct {
	Policy  string    `json:"policy"`
	SetBy   string    `json:"set_by"`
	SetAt   time.Time `json:"set_at"`
	Ready   int       `json:"ready"`             // instances of the service that are ready
	Left    int       `json:"left"`              // that would be left ready
	Needed  int       `json:"needed"`            // that must be left ready
	Total   int       `json:"total"`             // instances of the service
	Removed int       `json:"removed,omitempty"` // instances that the actor removed within the span of max_removals
}
