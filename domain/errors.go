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
	Deregistered bool // it was there once and said good-bye
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

// StaleEpoch refuses a command meant for another registration of the key than the live one.
type StaleEpoch struct {
	Key         Key
	Epoch, Live uint64 // Live is 0 where none is
}

func (e StaleEpoch) Error() string {
	if e.Live == 0 {
		return fmt.Sprintf("epoch %d of instance %s is not live", e.Epoch, e.Key)
	}
	return fmt.Sprintf("epoch %d of instance %s is not the live one, %d", e.Epoch, e.Key, e.Live)
}

// OtherOwner refuses a command of an owner whose registration is not the live one.
type OtherOwner struct {
	Key         Key
	Owner, Live string // Live is "" where the live registration names none
}

func (e OtherOwner) Error() string {
	if e.Live == "" {
		return fmt.Sprintf("instance %s was registered by nobody in particular, not by %q", e.Key, e.Owner)
	}
	return fmt.Sprintf("instance %s was registered by %q, not by %q", e.Key, e.Live, e.Owner)
}

// AlreadyLive refuses a registration that was to create an instance only.
type AlreadyLive struct {
	Key   Key
	Epoch uint64
}

func (e AlreadyLive) Error() string {
	return fmt.Sprintf("instance %s is registered already, in epoch %d", e.Key, e.Epoch)
}

// RevisionMismatch refuses a command whose If-Match named another revision than the instance has.
type RevisionMismatch struct {
	Key          Key
	Want, Actual uint64
}

func (e RevisionMismatch) Error() string {
	return fmt.Sprintf("instance %s is at revision %d, not %d", e.Key, e.Actual, e.Want)
}

// NothingToMatch refuses a registration whose If-Match asked for an instance that is there, where none is.
type NothingToMatch struct{ Key Key }

func (e NothingToMatch) Error() string {
	return fmt.Sprintf("instance %s is not registered, so it is at no revision that If-Match can name", e.Key)
}
