package domain

import (
	"strings"
	"time"
	"unicode/utf8"
)

// AddCheck gives a live instance a check, or another definition of the check with that id.
type AddCheck struct {
	Key    Key
	Epoch  uint64 // the epoch that must be live; 0: any
	Owner  string // the owner of the live registration; "": any
	Check  Check
	Holder string
}

// RemoveCheck takes a check from a live instance.
type RemoveCheck struct {
	Key    Key
	Epoch  uint64 // the epoch that must be live; 0: any
	Owner  string // the owner of the live registration; "": any
	Check  string // its id
	Holder string
}

// ReportCheck states the status of a ttl check, and renews its ttl.
type ReportCheck struct {
	Key    Key
	Epoch  uint64 // the epoch that must be live; 0: any
	Owner  string // the owner of the live registration; "": any
	Check  string // its id
	Status Status // passing, warning or critical
	Output string // is cleaned (CleanOutput)
	Holder string
}

// ReportProbe states what a node saw when it looked at a check. Only the registry gives this command, never a client. It
// is refused if the node looked at another definition of the check than the present one, or at another address or port of the
// instance.
type ReportProbe struct {
	Key      Key
	Epoch    uint64
	Check    string // its id
	Revision uint64 // of the definition, CheckState.Revision
	Address  string // of the instance when the node looked; "": any
	Port     uint16 // at which the node looked; it counts with Address, and where the check names a port of the instance
	Status   Status // passing, warning or critical
	Output   string // is cleaned (CleanOutput)
	By       string // the node
	Latency  time.Duration
	Looks    int // results in a row that led to Status; 0: 1
}

// LapseCheck says that a ttl check was not reported within its ttl. Only the registry gives this command, never a client.
type LapseCheck struct {
	Key      Key
	Epoch    uint64
	Check    string // its id
	Revision uint64
	Last     time.Time // when the newest report was recorded; zero: not known, or Began
	Began    time.Time // when the check was defined, if no report came since
}

// RemoveCritical removes an instance whose lease lapsed to critical, or whose check is critical, for the time of
// RemoveAfter. Only the registry gives this command, never a client.
type RemoveCritical struct {
	Key   Key
	Epoch uint64
	Check string // its id; "": the lease
	Since time.Time
	// Late is how long the time of RemoveAfter has passed.
	Late time.Duration
}

func (c AddCheck) Instance() Key       { return c.Key }
func (c RemoveCheck) Instance() Key    { return c.Key }
func (c ReportCheck) Instance() Key    { return c.Key }
func (c ReportProbe) Instance() Key    { return c.Key }
func (c LapseCheck) Instance() Key     { return c.Key }
func (c RemoveCritical) Instance() Key { return c.Key }

// Validate holds the key, the owner and the check to the limits.
func (c AddCheck) Validate() error {
	if err := validateTarget(c.Key, c.Owner); err != nil {
		return err
	}
	return c.Check.Normalize().Validate("")
}

// Validate holds the key, the owner and the check's id to the limits.
func (c RemoveCheck) Validate() error { return validateCheckTarget(c.Key, c.Owner, c.Check) }

// Validate holds the key, the owner, the check's id and the status to the limits.
func (c ReportCheck) Validate() error {
	if err := validateCheckTarget(c.Key, c.Owner, c.Check); err != nil {
		return err
	}
	return validateAnswer(c.Status)
}

// Validate holds the key, the check's id, the status and the node to the limits.
func (c ReportProbe) Validate() error {
	if err := validateCheckTarget(c.Key, "", c.Check); err != nil {
		return err
	}
	if err := validateToken("by", c.By, MaxOwner); err != nil {
		return err
	}
	return validateAnswer(c.Status)
}

// Validate holds the key and the check's id to the limits.
func (c LapseCheck) Validate() error { return validateCheckTarget(c.Key, "", c.Check) }

// Validate holds the key to the limits.
func (c RemoveCritical) Validate() error { return c.Key.Validate() }

func validateCheckTarget(key Key, owner, check string) error {
	if err := validateTarget(key, owner); err != nil {
		return err
	}
	return validateToken("check", check, MaxCheckID)
}

// validateAnswer accepts the statuses that an answer of a check can have.
func validateAnswer(s Status) error {
	switch s {
	case Passing, Warning, Critical:
		return nil
	}
	return InvalidField{Field: "status", Rule: "must be passing, warning or critical"}
}

// CleanOutput makes any bytes the output of a check: valid UTF-8 without control characters, but for line ends and tabs,
// and not longer than MaxOutput.
func CleanOutput(s string) string {
	if clean(s) {
		return s
	}
	s = s[:min(len(s), 4*MaxOutput)] // more than enough is read of a long text
	s = strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 && r != '\n' && r != '\t', r >= 0x7f && r < 0xa0:
			return -1
		case r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // they end lines, or turn the order of what follows
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > MaxOutput {
		end := MaxOutput
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return s
}

// clean says whether a text is printable ASCII of at most MaxOutput bytes, as nearly every output is.
func clean(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= MaxOutput
}
