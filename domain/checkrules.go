package domain

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate gives an error that names the first field that breaks its rule. field comes before the names of the fields,
// e.g. "checks[0].". REQUIRES: the check is normalized.
func (c Check) Validate(field string) error {
	if err := validateToken(field+"id", c.ID, MaxCheckID); err != nil {
		return err
	}
	if c.ID == "." || c.ID == ".." { // many clients take it out of a path
		return InvalidField{Field: field + "id", Rule: "must not be . or .."}
	}
	switch c.Kind {
	case CheckTTL, CheckHTTP, CheckTCP, CheckGRPC:
	default:
		return InvalidField{Field: field + "kind", Rule: "must be ttl, http, tcp or grpc"}
	}
	if err := c.validateFields(field); err != nil {
		return err
	}
	if err := validateText(field+"name", c.Name, 0, MaxCheckName); err != nil {
		return err
	}
	if err := validateText(field+"notes", c.Notes, 0, MaxCheckNotes); err != nil {
		return err
	}
	var err error
	switch c.Kind {
	case CheckTTL:
		if ttl := time.Duration(c.TTL); ttl < MinTTL || ttl > MaxTTL {
			err = InvalidField{Field: field + "ttl", Rule: "must be from 1s to 24h"}
		}
	case CheckHTTP:
		err = c.validateHTTP(field)
	default:
		err = c.validateTarget(field)
	}
	if err != nil {
		return err
	}
	if err := c.validateTimes(field); err != nil {
		return err
	}
	if c.InitialStatus != "" {
		return c.InitialStatus.Validate(field + "initial_status")
	}
	return nil
}

// validateFields refuses the fields that the kind does not take.
func (c Check) validateFields(field string) error {
	dials := c.Kind == CheckTCP || c.Kind == CheckGRPC
	encrypted := c.TLS || strings.HasPrefix(strings.ToLower(c.URL), "https:")
	for _, f := range [...]struct {
		name  string
		given bool
		taken bool
	}{
		{"ttl", c.TTL != 0, c.Kind == CheckTTL},
		{"url", c.URL != "", c.Kind == CheckHTTP},
		{"method", c.Method != "", c.Kind == CheckHTTP},
		{"headers", c.Headers != nil, c.Kind == CheckHTTP},
		{"body", c.Body != "", c.Kind == CheckHTTP},
		{"expected_statuses", c.ExpectedStatuses != nil, c.Kind == CheckHTTP},
		{"warning_statuses", c.WarningStatuses != nil, c.Kind == CheckHTTP},
		{"follow_redirects", c.FollowRedirects, c.Kind == CheckHTTP},
		{"port", c.Port != "", dials},
		{"target", c.Target != "", dials},
		{"grpc_service", c.GRPCService != "", c.Kind == CheckGRPC},
		{"tls", c.TLS, dials},
		{"tls_server_name", c.TLSServerName != "", c.Kind.Probed()},
		{"tls_skip_verify", c.TLSSkipVerify, c.Kind.Probed()},
		{"interval", c.Interval != 0, c.Kind.Probed()},
		{"timeout", c.Timeout != 0, c.Kind.Probed()},
		{"failures", c.Failures != 0, c.Kind.Probed()},
		{"successes", c.Successes != 0, c.Kind.Probed()},
	} {
		if f.given && !f.taken {
			return InvalidField{Field: field + f.name, Rule: fmt.Sprintf("must be left out: a check of kind %s has none", c.Kind)}
		}
	}
	switch {
	case c.TLSServerName != "" && !encrypted:
		return InvalidField{Field: field + "tls_server_name", Rule: "must be left out where the connection is not encrypted"}
	case c.TLSSkipVerify && !encrypted:
		return InvalidField{Field: field + "tls_skip_verify", Rule: "must be left out where the connection is not encrypted"}
	case c.TLSServerName != "" && validateHostName(c.TLSServerName) != nil:
		return InvalidField{Field: field + "tls_server_name", Rule: "must be a host name of at most 253 bytes"}
	}
	return nil
}

func (c Check) validateHTTP(field string) error {
	if err := validateURL(field+"url", c.URL); err != nil {
		return err
	}
	if c.Method != "" && (!isToken(c.Method) || len(c.Method) > 16 || c.Method != strings.ToUpper(c.Method) || c.Method == "CONNECT") {
		return InvalidField{Field: field + "method", Rule: "must be a method of HTTP in upper case, such as GET, but not CONNECT"}
	}
	if len(c.Headers) > MaxCheckHeaders {
		return InvalidField{Field: field + "headers", Rule: fmt.Sprintf("must be at most %d", MaxCheckHeaders)}
	}
	named := make(map[string]bool, len(c.Headers))
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value, twice := c.Headers[name], named[strings.ToLower(name)]
		named[strings.ToLower(name)] = true
		switch {
		case twice:
			return InvalidField{Field: field + "headers." + name, Rule: "must not be named twice, with letters of another case"}
		case !isToken(name):
			return InvalidField{Field: field + "headers", Rule: "must be named by letters, digits and ! # $ % & ' * + - . ^ _ ` | ~"}
		case len(name)+len(value) > MaxCheckHeader:
			return InvalidField{Field: field + "headers." + name, Rule: fmt.Sprintf("must be at most %d bytes long, with its name", MaxCheckHeader)}
		case strings.ContainsAny(value, "\r\n\t"):
			return InvalidField{Field: field + "headers." + name, Rule: "must not hold control characters"}
		}
		if err := validateText(field+"headers."+name, value, 0, MaxCheckHeader); err != nil {
			return err
		}
	}
	if len(c.Body) > MaxCheckBody {
		return InvalidField{Field: field + "body", Rule: fmt.Sprintf("must be at most %d bytes long", MaxCheckBody)}
	}
	if err := validateStatuses(field+"expected_statuses", c.ExpectedStatuses); err != nil {
		return err
	}
	return validateStatuses(field+"warning_statuses", c.WarningStatuses)
}

func validateStatuses(field string, ranges []StatusRange) error {
	if len(ranges) > MaxExpectedStatuses {
		return InvalidField{Field: field, Rule: fmt.Sprintf("must be at most %d", MaxExpectedStatuses)}
	}
	for i, r := range ranges {
		if r.From < 100 || r.To > 599 || r.From > r.To {
			return InvalidField{Field: element(field, i), Rule: `must be a status from "100" to "599", or a range such as "200-299"`}
		}
	}
	return nil
}

// validateURL accepts an http or https URL with a host.
func validateURL(field, text string) error {
	if len(text) > MaxCheckURL {
		return InvalidField{Field: field, Rule: fmt.Sprintf("must be at most %d bytes long", MaxCheckURL)}
	}
	bad := InvalidField{Field: field, Rule: `must be an http or https URL with a host, such as "http://10.0.0.5:8080/health"`}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
		return bad
	}
	switch {
	case u.User != nil:
		return InvalidField{Field: field, Rule: "must not hold a user name or a password; use headers"}
	case u.Fragment != "" || strings.Contains(text, "#"):
		return InvalidField{Field: field, Rule: "must not have a fragment"}
	case validateAddress(u.Hostname()) != nil:
		return bad
	}
	if !hasGoodPort(u) {
		return InvalidField{Field: field, Rule: badPort}
	}
	return nil
}

const badPort = "must have a port of 1-65535, or none"

// hasGoodPort says whether a URL has a port that there is, or none.
func hasGoodPort(u *url.URL) bool {
	if u.Port() == "" && !strings.HasSuffix(u.Host, ":") {
		return true
	}
	return isPort(u.Port())
}

// validateTarget accepts a port of the instance, or a host and port.
func (c Check) validateTarget(field string) error {
	switch {
	case c.Port != "" && c.Target != "":
		return InvalidField{Field: field + "target", Rule: "must be left out where port is given"}
	case c.Port != "":
		if !isLabel(c.Port) {
			return InvalidField{Field: field + "port", Rule: "must be the name of a port"}
		}
	case c.Target == "":
		return InvalidField{Field: field + "port", Rule: "must be the name of a port, unless target is given"}
	default:
		bad := InvalidField{Field: field + "target", Rule: `must be host:port, such as "10.0.0.5:5432" or "[2001:db8::1]:5432"`}
		at := strings.LastIndexByte(c.Target, ':')
		if at < 0 || !isPort(c.Target[at+1:]) || validateAddress(c.Target[:at]) != nil || strings.Contains(c.Target[:at], ":") && c.Target[0] != '[' {
			return bad
		}
	}
	if c.Kind == CheckGRPC {
		if strings.ContainsAny(c.GRPCService, "\r\n\t") {
			return InvalidField{Field: field + "grpc_service", Rule: "must not hold control characters"}
		}
		return validateText(field+"grpc_service", c.GRPCService, 0, MaxGRPCService)
	}
	return nil
}

func (c Check) validateTimes(field string) error {
	if c.Kind.Probed() {
		interval, timeout := time.Duration(c.Interval), time.Duration(c.Timeout)
		switch {
		case interval < MinInterval || interval > MaxInterval:
			return InvalidField{Field: field + "interval", Rule: "must be from 1s to 1h"}
		case timeout < MinTimeout || timeout > interval:
			return InvalidField{Field: field + "timeout", Rule: "must be from 10ms to the interval, " + c.Interval.String()}
		case c.Failures < 0 || c.Failures > MaxThreshold:
			return InvalidField{Field: field + "failures", Rule: fmt.Sprintf("must be 1-%d", MaxThreshold)}
		case c.Successes < 0 || c.Successes > MaxThreshold:
			return InvalidField{Field: field + "successes", Rule: fmt.Sprintf("must be 1-%d", MaxThreshold)}
		}
	}
	if c.RemoveAfter != 0 {
		return validateRemoveAfter(field+"remove_after", c.RemoveAfter)
	}
	return nil
}

func validateRemoveAfter(field string, d Duration) error {
	if d := time.Duration(d); d < MinRemoveAfter || d > MaxRemoveAfter {
		return InvalidField{Field: field, Rule: "must be from 1s to 720h, or left out: never"}
	}
	return nil
}

// size is how many bytes the check's texts have together.
func (c Check) size() int {
	size := len(c.ID) + len(c.Name) + len(c.Notes) + len(c.URL) + len(c.Body) + len(c.Target) + len(c.GRPCService) + len(c.TLSServerName)
	for name, value := range c.Headers {
		size += len(name) + len(value)
	}
	return size
}

// validateChecks holds an instance's checks to the limits.
func validateChecks(checks []Check) error {
	if len(checks) > MaxChecks {
		return InvalidField{Field: "checks", Rule: fmt.Sprintf("must be at most %d", MaxChecks)}
	}
	total := 0
	for i, c := range checks {
		field := fmt.Sprintf("checks[%d].", i)
		if err := c.Normalize().Validate(field); err != nil {
			return err
		}
		if first := checkIndex(checks, c.ID); first < i {
			return InvalidField{Field: field + "id", Rule: fmt.Sprintf("must not be the same as checks[%d].id", first)}
		}
		total += c.size()
	}
	if total > MaxChecksTotal {
		return InvalidField{Field: "checks", Rule: fmt.Sprintf("must be at most %d bytes of text together", MaxChecksTotal)}
	}
	return nil
}

// element is the name of an element of an array.
func element(array string, i int) string { return array + "[" + strconv.Itoa(i) + "]" }

// isToken says whether a text is a token of HTTP (RFC 9110).
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
