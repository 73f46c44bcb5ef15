package queries

import (
	"fmt"

	"github.com/rollcall-registry/rollcall/domain"
)

// registryWords describes an event of the registry's own stream.
func registryWords(event domain.Event) string {
	switch e := event.(type) {
	case domain.SelfPreservationStarted:
		if e.Forced {
			return because("an operator holds expiry in "+namespaceWords(e.Namespace), e.Reason)
		}
		return fmt.Sprintf("self-preservation started in %s: %d of %d leases were renewed; expiry is held", namespaceWords(e.Namespace), e.RenewalsSeen, e.RenewalsExpected)
	case domain.SelfPreservationEnded:
		switch e.Cause {
		case domain.EndedByOperator:
			return because("an operator ended self-preservation in "+namespaceWords(e.Namespace), e.Reason)
		case domain.EndedTooLong:
			return fmt.Sprintf("self-preservation ended in %s after the longest time that it may last: %d of %d leases are renewed", namespaceWords(e.Namespace), e.RenewalsSeen, e.RenewalsExpected)
		}
		return fmt.Sprintf("self-preservation ended in %s: %d of %d leases are renewed", namespaceWords(e.Namespace), e.RenewalsSeen, e.RenewalsExpected)
	case domain.ListeningInterrupted:
		const clock = "2006-01-02 15:04:05.0Z" // each with its zone, for each may be copied
		return fmt.Sprintf("between %s and %s the registry could not take heartbeats: %s", e.From.UTC().Format(clock), e.To.UTC().Format(clock), deafWords(e.Cause))
	}
	return event.EventType()
}

func namespaceWords(namespace string) string {
	if namespace == "" {
		return "every namespace"
	}
	return "namespace " + namespace
}

func deafWords(cause domain.Deafness) string {
	switch cause {
	case domain.DeafDiskFull:
		return "the disk was full"
	case domain.DeafReadOnly:
		return "a write to the disk had failed"
	case domain.DeafUnavailable:
		return "the event store could not be reached"
	case domain.DeafDenied:
		return "the event store did not let the registry in"
	case domain.DeafCommit:
		return "a commit took too long"
	case domain.DeafStopped:
		return "the process stood still"
	case domain.DeafOverload:
		return "it had to refuse heartbeats under load"
	case domain.DeafNotRunning:
		return "it was not running"
	case domain.DeafFailed:
		return "heartbeats failed"
	}
	return string(cause)
}
