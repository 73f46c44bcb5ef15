package domain

import "fmt"

// InvalidField refuses a command whose named field breaks the stated rule.
type InvalidField struct {
	Field string // as the client wrote it, e.g. "ports.http"
	Rule  string // what the field must be
}

func (e InvalidField) Error() string { return e.Field + " " + e.Rule }

// UnknownInstance refuses a command to an instance that never registered, or that deregistered.
type UnknownInstance struct {
	Key          Key
	Deregistered bool // the instance was registered once and was deregistered
}

func (e UnknownInstance) Error() string {
	if e.Deregistered {
		return fmt.Sprintf("instance %s was deregistered; register it again", e.Key)
	}
	return fmt.Sprintf("instance %s is not registered", e.Key)
}

// LeaseLapsed refuses a command to an instance whose lease has expired; it must register again.
type LeaseLapsed struct{ Key Key }

func (e LeaseLapsed) Error() string {
	return fmt.Sprintf("the lease of instance %s has expired; register it again", e.Key)
}

// StaleEpoch refuses a command that names another epoch than the live one.
type StaleEpoch struct {
	Key         Key
	Epoch, Live uint64 // Live is 0 where no instance is live
}

func (e StaleEpoch) Error() string {
	if e.Live == 0 {
		return fmt.Sprintf("epoch %d of instance %s is not live", e.Epoch, e.Key)
	}
	return fmt.Sprintf("epoch %d of instance %s is not the live one, %d", e.Epoch, e.Key, e.Live)
}

// OtherOwner refuses a command that names another owner than the live registration's.
type OtherOwner struct {
	Key         Key
	Owner, Live string // Live is "" where the live registration has no owner
}

func (e OtherOwner) Error() string {
	if e.Live == "" {
		return fmt.Sprintf("instance %s was registered by nobody in particular, not by %q", e.Key, e.Owner)
	}
	return fmt.Sprintf("instance %s was registered by %q, not by %q", e.Key, e.Live, e.Owner)
}

// AlreadyLive refuses a registration that may only create an instance, where one is live.
type AlreadyLive struct {
	Key   Key
	Epoch uint64
}

func (e AlreadyLive) Error() string {
	return fmt.Sprintf("instance %s is registered already, in epoch %d", e.Key, e.Epoch)
}

// RevisionMismatch refuses a command whose If-Match names another revision than the instance's.
type RevisionMismatch struct {
	Key          Key
	Want, Actual uint64
}

func (e RevisionMismatch) Error() string {
	return fmt.Sprintf("instance %s is at revision %d, not %d", e.Key, e.Actual, e.Want)
}

// NothingToMatch refuses a registration with If-Match where no instance is live.
type NothingToMatch struct{ Key Key }

func (e NothingToMatch) Error() string {
	return fmt.Sprintf("instance %s is not registered, so it is at no revision that If-Match can name", e.Key)
}

// UnknownCheck refuses a command to a check that the instance does not have.
type UnknownCheck struct {
	Key   Key
	Check string
}

func (e UnknownCheck) Error() string {
	return fmt.Sprintf("instance %s has no check %q", e.Key, e.Check)
}

// StaleCheck refuses a result of a check whose definition is not the present one any more, or whose instance has moved.
type StaleCheck struct {
	Key            Key
	Check          string
	Revision, Live uint64 // of the definitions
	Moved          bool   // the definition is the present one, but the instance has another address or port
}

func (e StaleCheck) Error() string {
	if e.Moved {
		return fmt.Sprintf("instance %s has another address or port than the one at which check %q looked", e.Key, e.Check)
	}
	return fmt.Sprintf("check %q of instance %s is defined by revision %d, not %d", e.Check, e.Key, e.Live, e.Revision)
}
