package domain

import "time"

// Command asks one instance to do something. Each command knows its instance.
type Command interface {
	Instance() Key
	// Validate checks the command's own fields, whatever the instance's state.
	Validate() error
}

// A command may say which registration of its key it is for: by its epoch, by its owner or both. If another one
// is live, the command is refused and changes nothing.

// RegisterInstance enters an instance into the catalog, or renews it when nothing differs. Details.Status "" keeps the
// present status.
type RegisterInstance struct {
	Key     Key
	Owner   string // who registers: if the live registration is another owner's, the next epoch begins
	Details Details

	Epoch      uint64 // that must be live; 0: any, or none
	CreateOnly bool   // nothing may be live
}

// SendHeartbeat renews the lease.
type SendHeartbeat struct {
	Key   Key
	Epoch uint64 // 0: whichever is live
	Owner string // "": whoever's is live
}

// ReportHealth states the instance's health.
type ReportHealth struct {
	Key    Key
	Epoch  uint64 // 0: whichever is live
	Owner  string // "": whoever's is live
	Status Status
	Source HealthSource
	Output string
}

// ChangeTraffic drains, resumes or puts into maintenance.
type ChangeTraffic struct {
	Key     Key
	Epoch   uint64 // 0: whichever is live
	Owner   string // "": whoever's is live
	Traffic Traffic
	Reason  string
}

// DeregisterInstance takes the instance out of the catalog.
type DeregisterInstance struct {
	Key    Key
	Epoch  uint64 // 0: whichever is live
	Owner  string // "": whoever's is live
	Reason string
}

// ExpireLease takes out an instance that was not heard from for longer than its ttl. The registry
// gives it to itself; clients can't.
type ExpireLease struct {
	Key           Key
	Epoch         uint64
	LastHeartbeat time.Time     // or the registration or update that was heard last; zero: not known
	Late          time.Duration // since the deadline
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
	return validateText("reason", c.Reason, 0, MaxReason)
}

// Validate holds the key, the owner and the reason to the limits.
func (c DeregisterInstance) Validate() error {
	if err := validateTarget(c.Key, c.Owner); err != nil {
		return err
	}
	return validateText("reason", c.Reason, 0, MaxReason)
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
