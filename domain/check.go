package domain

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CheckKind says how a check is made.
type CheckKind string

// The kinds of checks.
const (
	CheckTTL  CheckKind = "ttl"  // the instance itself reports within a ttl
	CheckHTTP CheckKind = "http" // a request to a URL
	CheckTCP  CheckKind = "tcp"  // a connection
	CheckGRPC CheckKind = "grpc" // the gRPC health protocol
)

// Limits on checks. They are part of the public contract (docs/api) and count bytes, except where they say that they are a
// number or a time.
const (
	MaxChecks           = 32       // checks of an instance; a number
	MaxChecksTotal      = 64 << 10 // texts of an instance's checks together
	MaxCheckID          = 256      // a check's id
	MaxCheckName        = 256      // a check's name
	MaxCheckURL         = 2048     // an http check's URL
	MaxCheckHeaders     = 32       // headers of an http check; a number
	MaxCheckHeader      = 4 << 10  // a header's name and value together
	MaxCheckBody        = 4 << 10  // the body of an http check's request
	MaxCheckNotes       = 1024     // a check's notes
	MaxGRPCService      = 256      // the service that a grpc check asks for
	MaxExpectedStatuses = 16       // an http check's expected statuses, and its warning statuses; a number
	MaxThreshold        = 100      // results in a row before a check changes its status; a number
	MinInterval         = time.Second
	MaxInterval         = time.Hour
	MinTimeout          = 10 * time.Millisecond
	MinRemoveAfter      = time.Second
	MaxRemoveAfter      = 30 * 24 * time.Hour
)

// What a probed check has that names none.
const (
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 2 * time.Second // or the interval, if that is shorter
)

// Check is a named test of an instance. A ttl check is passed by the instance itself; every other kind is probed by the
// registry. Which fields a kind takes is said beside them; a field that the kind does not take is empty.
type Check struct {
	ID    string    `json:"id"`             // names the check within its instance
	Name  string    `json:"name,omitempty"` // for people
	Kind  CheckKind `json:"kind"`
	Notes string    `json:"notes,omitempty"` // for people

	TTL Duration `json:"ttl,omitzero"` // ttl: the check is critical when no report came for this long

	URL              string            `json:"url,omitempty"`               // http: http or https
	Method           string            `json:"method,omitempty"`            // http; "": GET
	Headers          map[string]string `json:"headers,omitempty"`           // http; shown to those who may write the instance (Concealed)
	Body             string            `json:"body,omitempty"`              // http
	ExpectedStatuses []StatusRange     `json:"expected_statuses,omitempty"` // http: that pass; none: 200-299
	WarningStatuses  []StatusRange     `json:"warning_statuses,omitempty"`  // http: that make the check warning, where they are not expected; none: none
	FollowRedirects  bool              `json:"follow_redirects,omitempty"`  // http

	Port        string `json:"port,omitempty"`         // tcp, grpc: a port of the instance by its name; or Target. Without that port the check is critical
	Target      string `json:"target,omitempty"`       // tcp, grpc: host:port; or Port
	GRPCService string `json:"grpc_service,omitempty"` // grpc; "": the server as a whole

	TLS           bool   `json:"tls,omitempty"`             // tcp, grpc: the connection is encrypted
	TLSServerName string `json:"tls_server_name,omitempty"` // with TLS or an https URL; "": the target's host
	TLSSkipVerify bool   `json:"tls_skip_verify,omitempty"` // with TLS or an https URL: any certificate is taken

	Interval  Duration `json:"interval,omitzero"`   // probed: from one look to the next
	Timeout   Duration `json:"timeout,omitzero"`    // probed: at most Interval
	Failures  int      `json:"failures,omitempty"`  // probed: failures in a row before the check is critical; 0 means 1
	Successes int      `json:"successes,omitempty"` // probed: successes in a row before the check passes; 0 means 1

	InitialStatus Status   `json:"initial_status,omitempty"` // before the first answer; "": starting
	RemoveAfter   Duration `json:"remove_after,omitzero"`    // the instance is removed when the check was critical for this long; 0: never
}

// CheckKindOf is the kind of that name. The kinds that this version knows take no memory of their own.
func CheckKindOf[S ~string | ~[]byte](name S) CheckKind {
	for _, known := range [...]CheckKind{CheckTTL, CheckHTTP, CheckTCP, CheckGRPC} {
		if string(name) == string(known) {
			return known
		}
	}
	return CheckKind(name)
}

// Probed says whether the registry looks itself.
func (k CheckKind) Probed() bool { return k == CheckHTTP || k == CheckTCP || k == CheckGRPC }

// Initial is the status that the check has until its first answer.
func (c Check) Initial() Status {
	if c.InitialStatus == "" {
		return Starting
	}
	return c.InitialStatus
}

// Normalize gives equal checks one form, with the defaults of their kind.
func (c Check) Normalize() Check {
	if c.Kind.Probed() {
		if c.Interval == 0 {
			c.Interval = Duration(DefaultInterval)
		}
		if c.Timeout == 0 {
			c.Timeout = min(Duration(DefaultTimeout), c.Interval)
		}
	}
	if c.Failures == 1 {
		c.Failures = 0
	}
	if c.Successes == 1 {
		c.Successes = 0
	}
	if c.Method == "GET" {
		c.Method = ""
	}
	if c.InitialStatus == Starting {
		c.InitialStatus = ""
	}
	if len(c.Headers) == 0 {
		c.Headers = nil
	}
	if len(c.ExpectedStatuses) == 0 {
		c.ExpectedStatuses = nil
	}
	if len(c.WarningStatuses) == 0 {
		c.WarningStatuses = nil
	}
	return c
}

// Equal says whether two normalized checks are the same.
func (c Check) Equal(other Check) bool { return reflect.DeepEqual(c, other) }

// sameTest says whether two checks ask the same question, so that an answer to one is an answer to the other. How often
// it is asked, and what follows from the answer, may differ.
func (c Check) sameTest(other Check) bool {
	for _, check := range []*Check{&c, &other} {
		check.Name, check.Notes, check.TTL, check.InitialStatus, check.RemoveAfter = "", "", 0, "", 0
		check.Interval, check.Timeout, check.Failures, check.Successes = 0, 0, 0, 0
	}
	return c.Equal(other)
}

// ExpectedStatus says whether an http check passes with a response of that status.
func (c Check) ExpectedStatus(status int) bool {
	if len(c.ExpectedStatuses) == 0 {
		return status >= 200 && status <= 299
	}
	return within(c.ExpectedStatuses, status)
}

// WarningStatus says whether an http check is warning with a response of that status. REQUIRES: the status is not expected.
func (c Check) WarningStatus(status int) bool { return within(c.WarningStatuses, status) }

func within(ranges []StatusRange, status int) bool {
	return slices.ContainsFunc(ranges, func(r StatusRange) bool { return int(r.From) <= status && status <= int(r.To) })
}

// StatusRange is a range of statuses of HTTP. Its JSON form is a number, or a text such as "200-299".
type StatusRange struct{ From, To uint16 }

// MarshalText is "200", or "200-299". Both are text, so that generated clients have one type for them.
func (r StatusRange) MarshalText() ([]byte, error) {
	if r.From == r.To {
		return strconv.AppendUint(nil, uint64(r.From), 10), nil
	}
	return fmt.Appendf(nil, "%d-%d", r.From, r.To), nil
}

// UnmarshalJSON reads what MarshalText writes, and numbers.
func (r *StatusRange) UnmarshalJSON(data []byte) error {
	return r.UnmarshalText(bytes.Trim(data, `"`))
}

// UnmarshalText reads what MarshalText writes. What is no range becomes one that Validate refuses, for Validate knows where it
// stands.
func (r *StatusRange) UnmarshalText(text []byte) error {
	*r = StatusRange{}
	from, to, several := strings.Cut(string(text), "-")
	if !several {
		to = from
	}
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err1 == nil && err2 == nil {
		*r = StatusRange{uint16(first), uint16(last)}
	}
	return nil
}

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
	for _, r := range ranges {
		if r.From < 100 || r.To > 599 || r.From > r.To {
			return InvalidField{Field: field, Rule: `must have statuses from "100" to "599", and ranges such as "200-299"`}
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
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if !isPort(port) {
			return InvalidField{Field: field, Rule: "must have a port of 1-65535, or none"}
		}
	}
	return nil
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

func checkIndex(checks []Check, id string) int {
	return slices.IndexFunc(checks, func(c Check) bool { return c.ID == id })
}

func equalChecks(a, b []Check) bool { return slices.EqualFunc(a, b, Check.Equal) }

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
