package domain

import "time"

// Names of the event types of the registry's own stream.
const (
	TypeSelfPreservationStarted = "SelfPreservationStarted"
	TypeSelfPreservationEnded   = "SelfPreservationEnded"
	TypeListeningInterrupted    = "ListeningInterrupted"
)

// SelfPreservationStarted says that expiry is held, because too many leases lapsed at once or because an operator decided so.
type SelfPreservationStarted struct {
	Namespace        string `json:"namespace,omitempty"` // "": every namespace
	RenewalsSeen     int    `json:"renewals_seen"`       // leases renewed within their ttl
	RenewalsExpected int    `json:"renewals_expected"`   // leases that should have been renewed
	Forced           bool   `json:"forced,omitempty"`    // an operator decided it, and only an operator ends it
	Reason           string `json:"reason,omitempty"`    // the operator's
}

// SelfPreservationEnded says that expiry goes on.
type SelfPreservationEnded struct {
	Namespace        string `json:"namespace,omitempty"` // "": every namespace
	RenewalsSeen     int    `json:"renewals_seen"`
	RenewalsExpected int    `json:"renewals_expected"`
	// Cause is why self-preservation ended. It is "" in events of schema 1, where the cause was always EndedRenewed.
	Cause  PreservationEnd `json:"cause,omitempty"`
	Reason string          `json:"reason,omitempty"` // the operator's
}

// PreservationEnd is why self-preservation ended.
type PreservationEnd string

// The causes.
const (
	EndedRenewed    PreservationEnd = "renewed"  // enough leases are renewed again
	EndedTooLong    PreservationEnd = "too-long" // it lasted for the longest time that it may
	EndedByOperator PreservationEnd = "operator"
)

// ListeningInterrupted says that the registry could not take heartbeats for a time, so that no lease ran. It is recorded when
// that time is over.
type ListeningInterrupted struct {
	From  time.Time `json:"from"` // when the registry was last known to take heartbeats
	To    time.Time `json:"to"`   // when the registry was first known to take heartbeats again
	Cause Deafness  `json:"cause"`
}

// Deafness is why the registry could not take heartbeats.
type Deafness string

// The causes.
const (
	DeafDiskFull    Deafness = "disk-full"         // the disk was nearly full
	DeafReadOnly    Deafness = "read-only"         // a write to the disk had failed
	DeafUnavailable Deafness = "store-unavailable" // the event store could not be reached
	DeafDenied      Deafness = "store-denied"      // the event store did not let the registry in
	DeafCommit      Deafness = "slow-commit"       // a commit was under way for too long
	DeafStopped     Deafness = "stopped"           // the process stood still
	DeafOverload    Deafness = "overload"          // heartbeats were refused for want of capacity
	DeafNotRunning  Deafness = "not-running"       // the registry was down, or starting
	DeafFailed      Deafness = "failed"            // heartbeats failed for another cause
)

// ValidatePreservation checks the fields of an operator's decision. namespace "" is every namespace.
func ValidatePreservation(namespace, reason string) error {
	if namespace != "" {
		if err := ValidateLabel("ns", namespace); err != nil {
			return err
		}
	}
	return validateText("reason", reason, 0, MaxReason)
}

// Deafnesses are all causes.
var Deafnesses = []Deafness{
	DeafDiskFull, DeafReadOnly, DeafUnavailable, DeafDenied, DeafCommit, DeafStopped, DeafOverload, DeafNotRunning, DeafFailed,
}

func (SelfPreservationStarted) EventType() string { return TypeSelfPreservationStarted }
func (SelfPreservationEnded) EventType() string   { return TypeSelfPreservationEnded }
func (ListeningInterrupted) EventType() string    { return TypeListeningInterrupted }
