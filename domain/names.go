package domain

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits on the fields of commands. They are part of the public contract (docs/api) and count bytes, except where they say
// that they are a number.
const (
	MaxLabel         = 63       // a namespace (RFC 1123 label) or a port's name
	MaxService       = 128      // a service's name
	MaxInstanceID    = 256      // an instance's id
	MaxOwner         = 256      // an owner
	MaxTags          = 64       // tags of an instance; a number
	MaxTag           = 4 << 10  // a tag
	MaxTagsTotal     = 16 << 10 // an instance's tags together
	MaxMetadata      = 64       // metadata pairs of an instance; a number
	MaxMetadataKey   = 128      // a metadata key
	MaxMetadataValue = 4 << 10  // a metadata value
	MaxMetadataTotal = 16 << 10 // an instance's metadata keys and values together
	MaxPorts         = 64       // named ports of an instance; a number
	MaxHostName      = 253      // a host name (RFC 1123)
	MaxZone          = 128      // a zone
	MaxVersion       = 128      // a version
	MaxReason        = 1024     // a reason
	MaxOutput        = 4096     // a health report's output
	MaxWeight        = 65535
)

// DefaultNamespace is the namespace of a request that names none.
const DefaultNamespace = "default"

// RegistryNamespace is the namespace of the registry's own instances: its nodes. Only the registry writes there.
const RegistryNamespace = "rollcall-system"

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

// ParseKey reads the written form of a key.
func ParseKey(s string) (Key, error) {
	ns, rest, ok := strings.Cut(s, "/")
	service, id, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Key{}, InvalidField{Field: "key", Rule: "must be namespace/service/id"}
	}
	k := Key{Namespace: ns, Service: service, ID: id}
	return k, k.Validate()
}

// Validate gives an error that names the part of the key that breaks its rule. It accepts every key that an earlier version
// accepted. ValidateNew is for a new instance.
func (k Key) Validate() error {
	if err := k.ServiceKey().Validate(); err != nil {
		return err
	}
	return validateID("id", k.ID)
}

// ValidateNew is Validate for an instance that may be new. It refuses the ids "." and "..", because clients and proxies
// remove them from the path of a URL. An earlier version accepted them.
func (k Key) ValidateNew() error {
	if k.ID == "." || k.ID == ".." {
		return InvalidField{Field: "id", Rule: `must not be "." or ".."`}
	}
	return k.Validate()
}

// Validate gives an error that names the part of the key that breaks its rule.
func (k ServiceKey) Validate() error {
	if err := ValidateLabel("namespace", k.Namespace); err != nil {
		return err
	}
	return ValidateService("service", k.Service)
}

// ValidateLabel checks that a namespace is an RFC 1123 label in lower case.
func ValidateLabel(field, s string) error {
	if isLabel(s) {
		return nil
	}
	return InvalidField{Field: field, Rule: "must be 1-63 bytes of a-z, 0-9 and '-', starting and ending with a letter or digit (RFC 1123 label)"}
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

// ValidateService checks the name of a service. Upper and lower case are different and are kept.
func ValidateService(field, s string) error {
	valid := len(s) > 0 && len(s) <= MaxService && isAlphanumeric(s[0]) && isAlphanumeric(s[len(s)-1])
	for i := 0; valid && i < len(s); i++ {
		c := s[i]
		valid = isAlphanumeric(c) || c == '.' || c == '_' || c == '-'
	}
	if !valid {
		return InvalidField{Field: field, Rule: "must be 1-128 bytes of A-Z a-z 0-9 . _ -, starting and ending with a letter or digit"}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// validateID checks the id of an instance.
func validateID(field, s string) error { return validateToken(field, s, MaxInstanceID) }

// validateToken checks that an instance id or an owner has only characters that need no escape in the query of a URL, in the
// name of a stream and in JSON.
func validateToken(field, s string, most int) error {
	valid := len(s) > 0 && len(s) <= most
	for i := 0; valid && i < len(s); i++ {
		switch c := s[i]; c {
		case '/', '\\', '?', '#', '%', '"':
			valid = false
		default:
			valid = c > ' ' && c < 0x7f
		}
	}
	if !valid {
		return InvalidField{Field: field, Rule: fmt.Sprintf(`must be 1-%d bytes of printable ASCII without space and / \ ? # %% "`, most)}
	}
	return nil
}

// validateText checks the length of free text, and that it is printable UTF-8.
func validateText(field, s string, least, most int) error {
	if rule := textRule(s, least, most); rule != "" {
		return InvalidField{Field: field, Rule: rule}
	}
	return nil
}

// TextRule is the rule of texts that a text of any length breaks; "": it breaks none.
func TextRule(s string) string { return textRule(s, 0, len(s)) }

// textRule is the rule of validateText that a text breaks; "": it breaks none. Where the name of the field has to be put together,
// nearly all texts are spared that.
func textRule(s string, least, most int) string {
	if len(s) < least || len(s) > most {
		return fmt.Sprintf("must be %d-%d bytes long", least, most)
	}
	if !utf8.ValidString(s) {
		return "must be valid UTF-8"
	}
	for i := range len(s) { // in UTF-8 no part of a longer character is one of these bytes
		if c := s[i]; c < 0x20 && c != '\n' && c != '\t' || c == 0x7f {
			return "must not hold control characters"
		}
	}
	return ""
}
