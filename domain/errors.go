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

// StaleEpoch refuses a command meant for an earlier registration of the same key.
type StaleEpoch struct {
	Key         Key
	Epoch, Live uint64
}

func (e StaleEpoch) Error() string {
	return fmt.Sprintf("epoch %d of instance %s is not the live one, %d", e.Epoch, e.Key, e.Live)
}

// RevisionMismatch refuses a command whose If-Match named another revision than the instance has.
type RevisionMismatch struct {
	Key          Key
	Want, Actual uint64
}

func (e RevisionMismatch) Error() string {
	return fmt.Sprintf("instance %s is at revision %d, not %d", e.Key, e.Actual, e.Want)
}
