package consul

import (
	"encoding/json"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
)

// origin is what Consul carries of a registration and the domain has no use for. It is kept with the registration under the
// name "consul".
type origin struct {
	Node        string            `json:"node,omitempty"`
	NodeID      string            `json:"node_id,omitempty"`
	NodeAddress string            `json:"node_address,omitempty"`
	NodeMeta    map[string]string `json:"node_meta,omitempty"`
	NodeTagged  map[string]string `json:"node_tagged_addresses,omitempty"` // nil: lan and wan are the node's address

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

	IsNode  bool                   `json:"is_node,omitempty"` // the instance stands for a node, see nodeService
	Checks  map[string]checkOrigin `json:"checks,omitempty"`  // by the id of the domain
	Written []writtenCheck         `json:"written,omitempty"` // by /v1/catalog/register: nobody looks, and no time runs out

	Imported *imported `json:"imported,omitempty"` // nil: the registration was made here
}

// imported is what an import keeps of an instance of another registry, which judges the checks.
type imported struct {
	From       string         `json:"from"`
	Checks     []writtenCheck `json:"checks,omitempty"`
	Maintained bool           `json:"maintained,omitempty"` // the instance is in maintenance there
}

// writtenCheck is a check that is judged elsewhere. It has the status that was written last.
type writtenCheck struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Type   string `json:"type,omitempty"`
	Status string `json:"status"`
	Notes  string `json:"notes,omitempty"`
	Output string `json:"output,omitempty"` // at most maxWrittenOutput bytes

	Definition json.RawMessage `json:"definition,omitempty"`
}

// maxWrittenOutput is how many bytes of a written check's output are kept: an origin has 8 KiB for everything.
const maxWrittenOutput = 512

func (c *writtenCheck) show() healthCheck {
	return healthCheck{CheckID: c.ID, Name: c.Name, Status: c.Status, Type: c.Type, Notes: c.Notes, Output: c.Output, Definition: c.Definition}
}

// worst is the status of written checks together.
func worst(checks []writtenCheck) domain.Status {
	worst := domain.Passing
	for _, c := range checks {
		switch {
		case c.Status == critical:
			return domain.Critical
		case c.Status == warning:
			worst = domain.Warning
		}
	}
	return worst
}

// write puts a check among the others, in the place of the check with its id.
func (o *origin) write(c writtenCheck) { o.Written = written(slices.Clone(o.Written), c) }

// written are checks with another one, in the place of the check with its id.
func written(checks []writtenCheck, c writtenCheck) []writtenCheck {
	if at := slices.IndexFunc(checks, func(w writtenCheck) bool { return w.ID == c.ID }); at >= 0 {
		checks[at] = c
		return checks
	}
	return append(checks, c)
}

type weights struct{ Passing, Warning int }

// wrong says what is wrong with the weights; "": nothing.
func (w *weights) wrong() string {
	switch {
	case w.Passing < 1:
		return "Passing must be greater than 0"
	case w.Warning < 0:
		return "Warning must be greater or equal than 0"
	case w.Passing > 65535 || w.Warning > 65535:
		return "DNS Weight must be between 0 and 65535"
	}
	return ""
}

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
