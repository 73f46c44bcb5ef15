package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lease limits.
const (
	MinTTL     = time.Second
	MaxTTL     = 24 * time.Hour
	DefaultTTL = 30 * time.Second
)

// DefaultWeight is the weight of an instance that names none.
const DefaultWeight = 100

// Status is an instance's health.
type Status string

// The statuses, from not yet known to broken.
const (
	Starting Status = "starting"
	Passing  Status = "passing"
	Warning  Status = "warning"
	Critical Status = "critical"
)

// Validate gives an error that names the field and the rule, if the status breaks it.
func (s Status) Validate(field string) error {
	switch s {
	case Starting, Passing, Warning, Critical:
		return nil
	}
	return InvalidField{Field: field, Rule: "must be starting, passing, warning or critical"}
}

// Traffic says whether an instance wants traffic.
type Traffic string

// The traffic states.
const (
	Serving     Traffic = "serving"
	Draining    Traffic = "draining"
	Maintenance Traffic = "maintenance"
)

func (t Traffic) validate(field string) error {
	switch t {
	case Serving, Draining, Maintenance:
		return nil
	}
	return InvalidField{Field: field, Rule: "must be serving, draining or maintenance"}
}

// HealthSource says who reported a change of health.
type HealthSource string

// The health sources.
const (
	FromClient   HealthSource = "client"
	FromCheck    HealthSource = "check"
	FromOperator HealthSource = "operator"
	FromLease    HealthSource = "lease" // the registry: the lease lapsed, or was renewed after it had lapsed
)

func (s HealthSource) validate() error {
	switch s {
	case FromClient, FromCheck, FromOperator:
		return nil
	}
	return InvalidField{Field: "source", Rule: "must be client, check or operator"}
}

// NoTTL is the ttl of an instance without a lease. It never has to send a heartbeat.
const NoTTL Duration = math.MinInt64

// LapsePolicy says what happens when a lease lapses.
type LapsePolicy string

// The policies.
const (
	LapseRemoves  LapsePolicy = "remove"   // the instance is removed; the default
	LapseCritical LapsePolicy = "critical" // the instance is critical until the next heartbeat
)

// Duration is a time.Duration whose JSON form is Go's notation, e.g. "30s" or "1m30s".
type Duration time.Duration

// String is the duration in Go's notation. NoTTL is "none".
func (d Duration) String() string {
	if d == NoTTL {
		return none
	}
	return time.Duration(d).String()
}

const none = "none"

// appendTo appends the result of String, without memory of its own for whole seconds.
func (d Duration) appendTo(b []byte) []byte {
	seconds := int64(d) / int64(time.Second)
	if d == NoTTL || d <= 0 || Duration(seconds)*Duration(time.Second) != d {
		return append(b, d.String()...)
	}
	if seconds >= 3600 {
		b = append(strconv.AppendInt(b, seconds/3600, 10), 'h')
	}
	if seconds >= 60 {
		b = append(strconv.AppendInt(b, seconds/60%60, 10), 'm')
	}
	return append(strconv.AppendInt(b, seconds%60, 10), 's')
}

// MarshalText writes Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads Go's notation, and "none" as NoTTL.
func (d *Duration) UnmarshalText(b []byte) error {
	if string(b) == none {
		*d = NoTTL
		return nil
	}
	v, err := ParseDuration(b)
	if err != nil || Duration(v) == NoTTL {
		return InvalidField{Field: "ttl", Rule: `must be a duration such as "30s" or "5m"`}
	}
	*d = Duration(v)
	return nil
}

// ParseDuration is time.ParseDuration, but it takes no sign + at the beginning, which says nothing: one length of time has one
// sign. It allocates nothing for what nearly everybody writes, and for what String gives of whole seconds: whole numbers of hours,
// minutes and seconds, in this order.
func ParseDuration[T string | []byte](text T) (time.Duration, error) {
	total, number, digits := time.Duration(0), time.Duration(0), 0
	last := time.Duration(math.MaxInt64) // unit
	for i := range len(text) {
		c := text[i]
		if c >= '0' && c <= '9' && digits < 9 {
			number, digits = 10*number+time.Duration(c-'0'), digits+1
			continue
		}
		unit := unitOf(c)
		if unit == 0 || unit >= last || digits == 0 || number > (math.MaxInt64-total)/unit {
			return parseDuration(string(text))
		}
		total, number, digits, last = total+number*unit, 0, 0, unit
	}
	if digits > 0 || len(text) == 0 {
		return parseDuration(string(text))
	}
	return total, nil
}

// unitOf is the unit that a letter stands for; 0: none of these.
func unitOf(letter byte) time.Duration {
	switch letter {
	case 'h':
		return time.Hour
	case 'm':
		return time.Minute
	case 's':
		return time.Second
	}
	return 0
}

func parseDuration(text string) (time.Duration, error) {
	if strings.HasPrefix(text, "+") {
		return 0, errPlus
	}
	return time.ParseDuration(text)
}

var errPlus = errors.New("a duration has no plus sign")

// Details is how an instance describes itself when it registers.
type Details struct {
	Address  string            `json:"address"`            // IP address or host name
	Ports    map[string]uint16 `json:"ports,omitempty"`    // by name, 1-65535
	Tags     []string          `json:"tags,omitempty"`     // in the client's order, no tag twice
	Metadata map[string]string `json:"metadata,omitempty"` // free pairs
	Zone     string            `json:"zone,omitempty"`
	Version  string            `json:"version,omitempty"`
	Weight   uint16            `json:"weight"` // share of traffic, relative to the service's other instances
	// Status in a command is the status that the client named; "": it named none. Status in an event is the present status
	// after the event; in events of schema 1 it is the status that a client named last.
	Status Status   `json:"status,omitempty"`
	TTL    Duration `json:"ttl"` // > 0; the lease lapses when no heartbeat came for this long; NoTTL: there is no lease

	OnLapse     LapsePolicy `json:"on_lapse,omitempty"`    // "": LapseRemoves
	RemoveAfter Duration    `json:"remove_after,omitzero"` // with LapseCritical: from the lapse to the removal; 0: never
	// Checks in a command are nil if the client named none. Checks in an event are all that the instance has after the event.
	Checks []Check `json:"checks,omitempty"`
	// Origin is what a face keeps of the registration that its protocol carries and Rollcall has no use for.
	Origin Origin `json:"origin,omitzero"`
}

// Origin is the text of a JSON object, or "" for none. Clients get it back as it came, but for white space.
type Origin string

// MaxOrigin is the most bytes of an origin.
const MaxOrigin = 8 << 10

// MarshalJSON writes the object.
func (o Origin) MarshalJSON() ([]byte, error) { return []byte(o), nil }

// UnmarshalJSON keeps an object in the form in which the JSON library writes it, so that an origin is equal to itself after
// it was written and read.
func (o *Origin) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*o = ""
		return nil
	}
	var compact, escaped bytes.Buffer
	if b[0] != '{' || json.Compact(&compact, b) != nil {
		return InvalidField{Field: "origin", Rule: "must be a JSON object"}
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	*o = Origin(escaped.String())
	return nil
}

// Validate holds an origin to its limit.
func (o Origin) Validate() error {
	if o == "" {
		return nil
	}
	if len(o) > MaxOrigin {
		return InvalidField{Field: "origin", Rule: fmt.Sprintf("must be at most %d bytes long", MaxOrigin)}
	}
	if o[0] != '{' || !json.Valid([]byte(o)) {
		return InvalidField{Field: "origin", Rule: "must be a JSON object"}
	}
	return nil
}

// Normalize gives equal details one form: one spelling of an address, and nil for empty collections.
func (d Details) Normalize() Details {
	d.Address = normalAddress(d.Address)
	if len(d.Tags) == 0 {
		d.Tags = nil
	}
	if len(d.Metadata) == 0 {
		d.Metadata = nil
	}
	if len(d.Ports) == 0 {
		d.Ports = nil
	}
	if d.OnLapse == LapseRemoves {
		d.OnLapse = ""
	}
	if d.Checks != nil {
		checks := make([]Check, len(d.Checks)) // empty, but not nil: a command that removes all checks
		for i, c := range d.Checks {
			checks[i] = c.Normalize()
		}
		d.Checks = checks
	}
	return d
}

// Validate gives an error that names the first field that breaks its rule.
func (d Details) Validate() error {
	if err := validateAddress(d.Address); err != nil {
		return err
	}
	if len(d.Ports) > MaxPorts {
		return InvalidField{Field: "ports", Rule: fmt.Sprintf("must be at most %d", MaxPorts)}
	}
	var few [fewNames]string
	for _, name := range names(d.Ports, few[:0]) {
		if !isLabel(name) {
			return InvalidField{Field: "ports", Rule: "must be named by 1-63 bytes of a-z, 0-9 and '-', starting and ending with a letter or digit"}
		}
		if d.Ports[name] == 0 {
			return InvalidField{Field: "ports." + name, Rule: "must be 1-65535"}
		}
	}
	if err := validateTags(d.Tags); err != nil {
		return err
	}
	if err := validateMetadata(d.Metadata); err != nil {
		return err
	}
	if err := validateText("zone", d.Zone, 0, MaxZone); err != nil {
		return err
	}
	if err := validateText("version", d.Version, 0, MaxVersion); err != nil {
		return err
	}
	if err := d.Origin.Validate(); err != nil {
		return err
	}
	if d.Status != "" {
		if err := d.Status.Validate("status"); err != nil {
			return err
		}
	}
	if ttl := time.Duration(d.TTL); d.TTL != NoTTL && (ttl < MinTTL || ttl > MaxTTL) {
		return InvalidField{Field: "ttl", Rule: "must be from 1s to 24h, or none"}
	}
	if err := d.validateLapse(); err != nil {
		return err
	}
	return validateChecks(d.Checks)
}

func (d Details) validateLapse() error {
	switch {
	case d.OnLapse != "" && d.OnLapse != LapseRemoves && d.OnLapse != LapseCritical:
		return InvalidField{Field: "on_lapse", Rule: "must be remove or critical"}
	case d.OnLapse != "" && d.TTL == NoTTL:
		return InvalidField{Field: "on_lapse", Rule: "must be left out where the ttl is none: such a lease never lapses"}
	case d.RemoveAfter == 0:
		return nil
	case d.OnLapse != LapseCritical:
		return InvalidField{Field: "remove_after", Rule: "must be left out unless on_lapse is critical"}
	}
	return validateRemoveAfter("remove_after", d.RemoveAfter)
}

func validateTags(tags []string) error {
	if len(tags) > MaxTags {
		return InvalidField{Field: "tags", Rule: fmt.Sprintf("must be at most %d", MaxTags)}
	}
	total := 0
	for i, tag := range tags {
		if rule := textRule(tag, 1, MaxTag); rule != "" {
			return InvalidField{Field: fmt.Sprintf("tags[%d]", i), Rule: rule}
		}
		if first := slices.Index(tags, tag); first < i {
			return InvalidField{Field: fmt.Sprintf("tags[%d]", i), Rule: fmt.Sprintf("must not be the same as tags[%d]", first)}
		}
		total += len(tag)
	}
	if total > MaxTagsTotal {
		return InvalidField{Field: "tags", Rule: fmt.Sprintf("must be at most %d bytes together", MaxTagsTotal)}
	}
	return nil
}

func validateMetadata(metadata map[string]string) error {
	if len(metadata) > MaxMetadata {
		return InvalidField{Field: "metadata", Rule: fmt.Sprintf("must be at most %d pairs", MaxMetadata)}
	}
	total := 0
	var few [fewNames]string
	for _, key := range names(metadata, few[:0]) {
		if err := validateText("metadata", key, 1, MaxMetadataKey); err != nil {
			return InvalidField{Field: "metadata", Rule: fmt.Sprintf("keys must be 1-%d bytes of printable UTF-8", MaxMetadataKey)}
		}
		if rule := textRule(metadata[key], 0, MaxMetadataValue); rule != "" {
			return InvalidField{Field: "metadata." + key, Rule: rule}
		}
		total += len(key) + len(metadata[key])
	}
	if total > MaxMetadataTotal {
		return InvalidField{Field: "metadata", Rule: fmt.Sprintf("must be at most %d bytes together", MaxMetadataTotal)}
	}
	return nil
}

// Diff names the fields in which two normalized details differ, in the order of the struct.
func (d Details) Diff(other Details) []string {
	var changed []string
	note := func(name string, differs bool) {
		if differs {
			changed = append(changed, name)
		}
	}
	note("address", d.Address != other.Address)
	note("ports", !maps.Equal(d.Ports, other.Ports))
	note("tags", !slices.Equal(d.Tags, other.Tags))
	note("metadata", !maps.Equal(d.Metadata, other.Metadata))
	note("zone", d.Zone != other.Zone)
	note("version", d.Version != other.Version)
	note("weight", d.Weight != other.Weight)
	note("status", d.Status != other.Status)
	note("ttl", d.TTL != other.TTL)
	note("on_lapse", d.OnLapse != other.OnLapse)
	note("remove_after", d.RemoveAfter != other.RemoveAfter)
	note("origin", d.Origin != other.Origin)
	note("checks", !equalChecks(d.Checks, other.Checks))
	return changed
}
