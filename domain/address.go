package domain

import (
	"net/netip"
	"strings"
)

var badAddress = InvalidField{Field: "address", Rule: "must be an IP address or a host name of at most 253 bytes"}

// validateAddress accepts an IP address that can be dialled, or a host name.
func validateAddress(s string) error {
	ip, ok := parseIP(s)
	if !ok {
		return validateHostName(s)
	}
	if ip.Unmap().IsUnspecified() {
		return InvalidField{Field: "address", Rule: "must not be the unspecified address"}
	}
	if ip.Zone() != "" { // means something on one machine only
		return InvalidField{Field: "address", Rule: "must not have a zone"}
	}
	return nil
}

// parseIP reads an IP address; IPv6 may stand in brackets, as it does in URLs.
func parseIP(s string) (ip netip.Addr, ok bool) {
	bare, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		if bare, ok = strings.CutSuffix(bare, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	ip, err := netip.ParseAddr(bare)
	return ip, err == nil && (!bracketed || ip.Is6())
}

// normalAddress gives every spelling of an IP address one form, that of RFC 5952 without brackets, and a host name
// lower case, for DNS knows no other. A final dot stays: resolvers look such a name up without their search list.
func normalAddress(s string) string {
	if ip, ok := parseIP(s); ok {
		var buffer [64]byte
		if string(ip.AppendTo(buffer[:0])) == s { // as nearly everyone writes it
			return s
		}
		return ip.String()
	}
	return strings.ToLower(s)
}

// validateHostName accepts labels of RFC 1123 and underscores, which container networks use, in any case and with
// an optional final dot.
func validateHostName(s string) error {
	host := strings.TrimSuffix(s, ".")
	if host == "" || len(host) > MaxHostName {
		return badAddress
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isHostLabel(label) {
			return badAddress
		}
	}
	// "10.0.0.300" and "1.2" are mistyped addresses, not host names (RFC 1123 2.1). "0x0" is one that resolvers and
	// browsers read as 0.0.0.0.
	if isNumber(labels[len(labels)-1]) {
		return badAddress
	}
	return nil
}

// isNumber says whether a label is a number as inet_aton reads numbers: in decimal, in octal or in hexadecimal.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isHostLabel(s string) bool {
	if len(s) == 0 || len(s) > MaxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
