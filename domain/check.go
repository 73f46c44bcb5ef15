package domain

import (
	"bytes"
	"fmt"
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

func checkIndex(checks []Check, id string) int {
	return slices.IndexFunc(checks, func(c Check) bool { return c.ID == id })
}

func equalChecks(a, b []Check) bool { return slices.EqualFunc(a, b, Check.Equal) }
