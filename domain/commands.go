package domain

import "time"

// Command asks one instance to do something. Each command knows its instance.
type Command interface {
	Instance() Key
	// Validate checks the command's own fields, whatever the instance's state.
	Validate() error
}

// A command may name the registration for which it is meant, by its epoch, by its owner, or both. If another registration
// is live, the command is refused and changes nothing (ADR 028). A command with a Holder reaches only a registration
// whose owner belongs to the holder (Holds); "": any registration. The registry sets the Holder, a client cannot.

// RegisterInstance puts an instance into the catalog, updates it, or renews its lease when nothing differs. An empty
// Details.Status keeps the present status.
type RegisterInstance struct {
	Key     Key
	Owner   string // the process that registers; if another owner's registration is live, the next epoch begins; "": none
	Details Details

	Epoch      uint64 // the epoch that must be live; 0: any epoch, or no live instance
	CreateOnly bool   // no instance of the key may be live
	Holder     string
}

// SendHeartbeat renews the lease.
type SendHeartbeat struct {
	Key    Key
	Epoch  uint64 // the epoch that must be live; 0: any
	Owner  string // the owner of the live registration; "": any
	Holder string
}

// ReportHealth states the instance's health.
type ReportHealth struct {
	Key    Key
	Epoch  uint64 // the epoch that must be live; 0: any
	Owner  string // the owner of the live registration; "": any
	Status Status
	Source HealthSource
	Output string
	Holder string
}

// ChangeTraffic drains, resumes or puts into maintenance.
type ChangeTraffic struct {
	Key     Key
	Epoch   uint64 // the epoch that must be live; 0: any
	Owner   string // the owner of the live registration; "": any
	Traffic Traffic
	Reason  string
	Force   bool // also where a policy refuses; needs a reason
	Holder  string
}

// DeregisterInstance removes the instance from the catalog.
type DeregisterInstance struct {
	Key    Key
	Epoch  uint64 // the epoch that must be live; 0: any
	Owner  string // the owner of the live registration; "": any
	Reason string
	Force  bool // also where a policy refuses; needs a reason
	Holder string
}

// ExpireLease ends an instance whose lease lapsed. Only the registry gives this command, never a client.
type ExpireLease struct {
	Key   Key
	Epoch uint64
	LastHeard
	Late   time.Duration // how long the deadline has passed
	KeptBy string        // the policy that keeps the instance: it becomes critical; "": the lease decides
}

func (c RegisterInstance) Instance() Key   { return c.Key }
func (c SendHeartbeat) Instance() Key      { return c.Key }
func (c ReportHealth) Instance() Key       { return c.Key }
func (c ChangeTraffic) Instance() Key      { return c.Key }
func (c DeregisterInstance) Instance() Key { return c.Key }
func (c ExpireLease) Instance() Key        { return c.Key }

// Validate holds the key, the owner and the details to the limits.
func (c RegisterInstance) Validate() error {
	if err := c.Key.ValidateNew(); err != nil {
		return err
	}
	if err := validateOwner(c.Owner); err != nil {
		return err
	}
	return c.Details.Validate()
}

// Validate holds the key and the owner to the limits.
func (c SendHeartbeat) Validate() error { return validateTarget(c.Key, c.Owner) }

// Conditional says whether the heartbeat is for one registration only.
func (c *SendHeartbeat) Conditional() bool { return c.Epoch != 0 || c.Owner != "" || c.Holder != "" }

// Validate holds the key, the owner, the status and the output to the limits.
func (c ReportHealth) Validate() error {
	if err := validateTarget(c.Key, c.Owner); err != nil {
		return err
	}
	if err := c.Status.Validate("status"); err != nil {
		return err
	}
	if err := c.Source.validate(); err != nil {
		return err
	}
	return validateText("output", c.Output, 0, MaxOutput)
}

// Validate holds the key, the owner, the traffic state and the reason to the limits.
func (c ChangeTraffic) Validate() error {
	if err := validateTarget(c.Key, c.Owner); err != nil {
		return err
	}
	if err := c.Traffic.validate("traffic"); err != nil {
		return err
	}
	return validateForce(c.Force, c.Reason)
}

// Validate holds the key, the owner and the reason to the limits.
func (c DeregisterInstance) Validate() error {
	if err := validateTarget(c.Key, c.Owner); err != nil {
		return err
	}
	return validateForce(c.Force, c.Reason)
}

// Validate holds the key to the limits.
func (c ExpireLease) Validate() error { return c.Key.Validate() }

func validateTarget(key Key, owner string) error {
	if err := key.Validate(); err != nil {
		return err
	}
	return validateOwner(owner)
}

func validateOwner(owner string) error {
	if owner == "" {
		return nil
	}
	return validateToken("owner", owner, MaxOwner)
}

// validateForce holds a reason to the limits. Whoever goes past a policy says why.
func validateForce(force bool, reason string) error {
	if force && reason == "" {
		return InvalidField{Field: "reason", Rule: "is needed with force"}
	}
	return ValidateReason(reason)
}
