package consul

import (
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
)

// origin is what Consul carries of a registration and the domain has no use for. It is kept with the registration under the
// name "consul".
type origin struct {
	Node        string            `json:"node,omitempty"`
	NodeID      string            `json:"node_id,omitempty"`
	NodeAddress string            `json:"node_address,omitempty"`
	NodeMeta    map[string]string `json:"node_meta,omitempty"`

	ID                string                    `json:"id,omitempty"`      // of the service, where the instance's id is another
	Address           *string                   `json:"address,omitempty"` // nil: the instance's
	Tags              []string                  `json:"tags,omitempty"`    // nil: the instance's
	Port              *int                      `json:"port,omitempty"`    // nil: the instance's
	Ports             json.RawMessage           `json:"ports,omitempty"`
	Kind              string                    `json:"kind,omitempty"`
	SocketPath        string                    `json:"socket_path,omitempty"`
	TaggedAddresses   map[string]serviceAddress `json:"tagged_addresses,omitempty"`
	Weights           *weights                  `json:"weights,omitempty"` // nil: 1 and 1
	EnableTagOverride bool                      `json:"enable_tag_override,omitempty"`
	Proxy             json.RawMessage           `json:"proxy,omitempty"`
	Connect           json.RawMessage           `json:"connect,omitempty"`
	Locality          json.RawMessage           `json:"locality,omitempty"`

	Checks map[string]checkOrigin `json:"checks,omitempty"` // by the id of the domain

	Imported *imported `json:"imported,omitempty"` // nil: the registration was made here
}

// imported is what an import keeps of an instance of another registry, which judges the checks.
type imported struct {
	From       string          `json:"from"`
	Checks     []importedCheck `json:"checks,omitempty"`
	Maintained bool            `json:"maintained,omitempty"` // the instance is in maintenance there
}

type importedCheck struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Type   string `json:"type,omitempty"`
	Status string `json:"status"`
}

type weights struct{ Passing, Warning int }

// checkOrigin is what Consul carries of a check.
type checkOrigin struct {
	Definition json.RawMessage `json:"definition,omitempty"`
	Type       string          `json:"type,omitempty"`
}

// encode is the origin as the registration keeps it.
func (o origin) encode() (domain.Origin, error) {
	b, err := json.Marshal(struct {
		Consul origin `json:"consul"`
	}{o})
	return domain.Origin(b), err
}

// originOf reads what encode wrote; false: the instance did not come through this face.
func originOf(text domain.Origin) (o origin, ok bool) {
	if text == "" {
		return o, false
	}
	var kept struct {
		Consul *origin `json:"consul"`
	}
	if json.Unmarshal([]byte(text), &kept) != nil || kept.Consul == nil {
		return o, false
	}
	return *kept.Consul, true
}
