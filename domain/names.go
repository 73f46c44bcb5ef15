package domain

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Limits on what a client may send. They are part of the public contract (docs/api).
const (
	MaxLabel         = 63   // bytes in a namespace or service name (RFC 1123 label)
	MaxInstanceID    = 128  // bytes in an instance id
	MaxTags          = 64   // tags of an instance
	MaxTag           = 128  // bytes in a tag
	MaxMetadata      = 64   // metadata pairs of an instance
	MaxMetadataKey   = 128  // bytes in a metadata key
	MaxMetadataValue = 1024 // bytes in a metadata value
	MaxMetadataTotal = 16 << 10
	MaxPorts         = 64   // named ports of an instance
	MaxHostName      = 253  // bytes in a host name (RFC 1123)
	MaxZone          = 128  // bytes in a zone
	MaxVersion       = 128  // bytes in a version
	MaxReason        = 1024 // bytes in a reason
	MaxOutput        = 4096 // bytes in a health report's output
	MaxWeight        = 65535
)

// DefaultNamespace is where an instance lives when nobody names another.
const DefaultNamespace = "default"

// Key names an instance: one network endpoint set of a service in a namespace.
type Key struct {
	Namespace string
	Service   string
	ID        string
}

// String is the key's written form, "namespace/service/id".
func (k Key) String() string { return k.Namespace + "/" + k.Service + "/" + k.ID }

// ServiceKey names a service in a namespace.
type ServiceKey struct {
	Namespace string
	Service   string
}

// String is the key's written form, "namespace/service".
func (k ServiceKey) String() string { return k.Namespace + "/" + k.Service }

// ServiceKey is the service that the instance belongs to.
func (k Key) ServiceKey() ServiceKey { return ServiceKey{k.Namespace, k.Service} }

// ParseKey reads what Key.String wrote.
func ParseKey(s string) (Key, error) {
	ns, rest, ok := strings.Cut(s, "/")
	service, id, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Key{}, InvalidField{Field: "key", Rule: "must be namespace/service/id"}
	}
	k := Key{Namespace: ns, Service: service, ID: id}
	return k, k.Validate()
}

// Validate says which part of the key is against the rules, if any is.
func (k Key) Validate() error {
	if err := k.ServiceKey().Validate(); err != nil {
		return err
	}
	return validateID(k.ID)
}

// Validate says which part of the key is against the rules, if any is.
func (k ServiceKey) Validate() error {
	if err := ValidateLabel("namespace", k.Namespace); err != nil {
		return err
	}
	return ValidateLabel("service", k.Service)
}

// ValidateLabel holds a namespace or service name to RFC 1123's label in lower case.
func ValidateLabel(field, s string) error {
	if isLabel(s) {
		return nil
	}
	return InvalidField{Field: field, Rule: "must be 1-63 of a-z, 0-9 and '-', starting and ending with a letter or digit (RFC 1123 label)"}
}

func isLabel(s string) bool {
	if len(s) == 0 || len(s) > MaxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func validateID(s string) error {
	valid := len(s) > 0 && len(s) <= MaxInstanceID
	for i := 0; valid && i < len(s); i++ {
		c := s[i]
		valid = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '.' || c == '_' || c == ':' || c == '-'
	}
	if !valid {
		return InvalidField{Field: "id", Rule: "must be 1-128 of A-Z a-z 0-9 . _ : -"}
	}
	return nil
}

// validateAddress accepts an IP address or a host name (RFC 1123, any case, an optional final dot).
func validateAddress(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	rule := InvalidField{Field: "address", Rule: "must be an IP address or a host name of at most 253 bytes"}
	host := strings.TrimSuffix(s, ".")
	if host == "" || len(host) > MaxHostName {
		return rule
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(strings.ToLower(label)) {
			return rule
		}
	}
	// "10.0.0.300" and "1.2" are mistyped addresses, not host names (RFC 1123 2.1).
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return rule
	}
	return nil
}

// validateText holds free text to a length, to UTF-8 and to printable characters.
func validateText(field, s string, least, most int) error {
	if len(s) < least || len(s) > most {
		return InvalidField{Field: field, Rule: fmt.Sprintf("must be %d-%d bytes long", least, most)}
	}
	if !utf8.ValidString(s) {
		return InvalidField{Field: field, Rule: "must be valid UTF-8"}
	}
	for _, r := range s {
		if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f {
			return InvalidField{Field: field, Rule: "must not hold control characters"}
		}
	}
	return nil
}
