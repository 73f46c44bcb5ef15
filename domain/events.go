package domain

import "time"

// Event is an immutable fact about an instance or about the registry.
type Event interface {
	// EventType is the name under which the event is stored, e.g. "InstanceRegistered".
	EventType() string
}

// Names of the stored event types.
const (
	TypeInstanceRegistered   = "InstanceRegistered"
	TypeInstanceUpdated      = "InstanceUpdated"
	TypeHeartbeatReceived    = "HeartbeatReceived"
	TypeHealthChanged        = "HealthChanged"
	TypeTrafficChanged       = "TrafficChanged"
	TypeInstanceDeregistered = "InstanceDeregistered"
	TypeLeaseExpired         = "LeaseExpired"
	TypeCheckAdded           = "CheckAdded"
	TypeCheckRemoved         = "CheckRemoved"
	TypeCheckChanged         = "CheckChanged"
)

// InstanceRegistered begins an epoch. The instance is in the catalog from then on.
type InstanceRegistered struct {
	Epoch       uint64         `json:"epoch"`                 // 1 for a key's first registration
	Owner       string         `json:"owner,omitempty"`       // "": the registration named none
	Replaces    uint64         `json:"replaces,omitempty"`    // the epoch that was live until this event; 0: none was
	Maintenance *InMaintenance `json:"maintenance,omitempty"` // the maintenance in which the key was and stays; nil: none
	Reported    Status         `json:"reported,omitempty"`    // what the instance says of itself, if it has checks
	Details
}

// InstanceUpdated says that a live instance registered again with other details.
type InstanceUpdated struct {
	Epoch          uint64   `json:"epoch"`
	Owner          string   `json:"owner,omitempty"`           // the owner of the epoch
	Changed        []string `json:"changed"`                   // names of the fields that differ, in the order of Details
	PreviousStatus Status   `json:"previous_status,omitempty"` // the status before, if it changed; "" in events of schema 1
	Reported       Status   `json:"reported,omitempty"`        // what the instance says of itself, if it has or had checks
	Details                 // all details, changed or not
}

// InMaintenance is an operator's decision to keep an instance out of traffic until the decision is taken back.
type InMaintenance struct {
	By     string    `json:"by,omitempty"` // actor of the event that began the maintenance
	At     time.Time `json:"at"`           // when that event was recorded
	Reason string    `json:"reason,omitempty"`
}

// HeartbeatReceived renews the lease, or a ttl check whose status stays.
type HeartbeatReceived struct {
	Epoch uint64 `json:"epoch"`
	Check string `json:"check,omitempty"` // id of the check; "": the lease
}

// HealthChanged moves the instance from one status to another. Where the instance has checks, its status may stay as it
// was, and only what it says of itself changes.
type HealthChanged struct {
	Epoch  uint64       `json:"epoch"`
	From   Status       `json:"from"`
	To     Status       `json:"to"`
	Source HealthSource `json:"source"`
	Output string       `json:"output,omitempty"`

	Reported  Status   `json:"reported,omitempty"` // what the instance says of itself, if that is not To
	Lapsed    bool     `json:"lapsed,omitempty"`   // of FromLease: the lease lapsed; otherwise it is renewed
	LastHeard          // of a lapse
	TTL       Duration `json:"ttl,omitzero"`      // of a lapse
	KeptBy    string   `json:"kept_by,omitempty"` // of a lapse: the policy that keeps the instance, which would be removed otherwise
}

// TrafficChanged says whether the instance wants traffic.
type TrafficChanged struct {
	Epoch  uint64  `json:"epoch"`
	From   Traffic `json:"from"`
	To     Traffic `json:"to"`
	Reason string  `json:"reason,omitempty"`
}

// InstanceDeregistered ends an epoch on request.
type InstanceDeregistered struct {
	Epoch  uint64 `json:"epoch"`
	Reason string `json:"reason,omitempty"`

	Check         string    `json:"check,omitempty"`         // the registry removed the instance because this check stayed critical
	CriticalSince time.Time `json:"critical_since,omitzero"` // of the check
	RemoveAfter   Duration  `json:"remove_after,omitzero"`   // of the check
}

// LastHeard is what renewed a lease last before the lease lapsed. One of the times is set, or none: then it is not known.
type LastHeard struct {
	LastHeartbeat  time.Time `json:"last_heartbeat,omitzero"`  // when the newest heartbeat was recorded
	LastRegistered time.Time `json:"last_registered,omitzero"` // when the newest registration or update was recorded, if no heartbeat came since
	LastEither     time.Time `json:"last_heard,omitzero"`      // of events of schema 1, which do not say which of the two it was
}

// At is when the lease was renewed last, by whatever it was; zero: not known.
func (h LastHeard) At() time.Time {
	switch {
	case !h.LastHeartbeat.IsZero():
		return h.LastHeartbeat
	case !h.LastRegistered.IsZero():
		return h.LastRegistered
	}
	return h.LastEither
}

// LeaseExpired ends an epoch because no heartbeat came within the lease's ttl.
type LeaseExpired struct {
	Epoch uint64 `json:"epoch"`
	LastHeard
	TTL  Duration `json:"ttl"`
	Late Duration `json:"late"` // from the lease's deadline to this decision

	CriticalSince time.Time `json:"critical_since,omitzero"` // when the lease lapsed to critical; zero: the lapse removes at once
	RemoveAfter   Duration  `json:"remove_after,omitzero"`   // from there to the removal
}

// CheckAdded gives a live instance a check, or another definition of a check that it has.
type CheckAdded struct {
	Epoch          uint64 `json:"epoch"`
	Check          Check  `json:"check"`
	Replaces       bool   `json:"replaces,omitempty"`        // the instance had a check with the same id
	Status         Status `json:"status"`                    // the instance's, after the event
	PreviousStatus Status `json:"previous_status,omitempty"` // the instance's before, if it changed
}

// CheckRemoved takes a check from a live instance.
type CheckRemoved struct {
	Epoch          uint64 `json:"epoch"`
	Check          string `json:"check"`                     // its id
	Status         Status `json:"status"`                    // the instance's, after the event
	PreviousStatus Status `json:"previous_status,omitempty"` // the instance's before, if it changed
}

// CheckChanged moves a check from one status to another.
type CheckChanged struct {
	Epoch   uint64     `json:"epoch"`
	Check   string     `json:"check"` // its id
	Kind    CheckKind  `json:"kind"`
	From    Status     `json:"from"`
	To      Status     `json:"to"`
	Cause   CheckCause `json:"cause"`
	Output  string     `json:"output,omitempty"` // what was seen or reported
	By      string     `json:"by,omitempty"`     // of CheckProbed: the node that looked
	Latency Duration   `json:"latency,omitzero"` // of CheckProbed: how long the newest look took
	Looks   int        `json:"looks,omitempty"`  // of CheckProbed: results in a row that led to To; 0: 1
	TTL     Duration   `json:"ttl,omitzero"`     // of CheckLapsed
	Last    time.Time  `json:"last,omitzero"`    // of CheckLapsed: when the newest report was recorded; zero: not known, or Began
	Began   time.Time  `json:"began,omitzero"`   // of CheckLapsed: when the check was defined, if no report came since

	Status         Status `json:"status"`                    // the instance's, after the event
	PreviousStatus Status `json:"previous_status,omitempty"` // the instance's before, if it changed
}

// CheckCause is why a check changed.
type CheckCause string

// The causes.
const (
	CheckReported CheckCause = "reported" // the client of a ttl check said so
	CheckProbed   CheckCause = "probed"   // a node looked
	CheckLapsed   CheckCause = "lapsed"   // no report came within the ttl
)

func (InstanceRegistered) EventType() string   { return TypeInstanceRegistered }
func (InstanceUpdated) EventType() string      { return TypeInstanceUpdated }
func (HeartbeatReceived) EventType() string    { return TypeHeartbeatReceived }
func (HealthChanged) EventType() string        { return TypeHealthChanged }
func (TrafficChanged) EventType() string       { return TypeTrafficChanged }
func (InstanceDeregistered) EventType() string { return TypeInstanceDeregistered }
func (LeaseExpired) EventType() string         { return TypeLeaseExpired }
func (CheckAdded) EventType() string           { return TypeCheckAdded }
func (CheckRemoved) EventType() string         { return TypeCheckRemoved }
func (CheckChanged) EventType() string         { return TypeCheckChanged }

// Metadata says who caused an event, from where and how. The event store adds the recorded time and the position.
type Metadata struct {
	Actor     string `json:"actor,omitempty"`      // token or certificate name, or "anonymous"
	Source    string `json:"source,omitempty"`     // the caller's address
	Via       string `json:"via,omitempty"`        // http, cli, expiry, …
	RequestID string `json:"request_id,omitempty"` // the request that carried the command
	Reverts   string `json:"reverts,omitempty"`    // of a revert: the id of the event whose effect it takes back
	Reason    string `json:"reason,omitempty"`     // of a revert: why
	Forced    string `json:"forced,omitempty"`     // the policy that refused the command, on which the actor insisted
	Schema    int    `json:"schema"`               // schema version of the event
}

// Anonymous is the actor of a request that carried no credentials.
const Anonymous = "anonymous"

// SchemaVersion is the schema version of the events that this code writes.
const SchemaVersion = 2
