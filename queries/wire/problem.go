package wire

import (
	"fmt"
	"net/http"
	"strings"
)

// Problem is the body of every error reply: application/problem+json (RFC 9457).
type Problem struct {
	Type      string `json:"type"`  // stable; programs decide by it
	Title     string `json:"title"` // of the type
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Field     string `json:"field,omitempty"`    // which field of the request is wrong
	Rule      string `json:"rule,omitempty"`     // what it must be
	Revision  string `json:"revision,omitempty"` // of the instance, where If-Match named another
	Verb      string `json:"verb,omitempty"`     // the right that the caller lacks
	Pattern   string `json:"pattern,omitempty"`  // on what, as namespace/service/id
	RequestID string `json:"request_id,omitempty"`
	// Of an instance that is gone: the event that took it out, and where its history is.
	Event   *HistoryEntry `json:"event,omitempty"`
	History string        `json:"history,omitempty"`
	// Of a removal that a policy refuses.
	Guard *Guard `json:"guard,omitempty"`
	// Of a position of another timeline: the last position before it that counts the same events in this log; absent
	// where none does.
	Fork *Position `json:"fork,omitempty"`
}

// TypePrefix begins every problem's type.
const TypePrefix = "urn:rollcall:problem:"

// Types that clients decide by.
const (
	UnknownInstance = TypePrefix + "unknown-instance"
	LeaseExpired    = TypePrefix + "lease-expired"  // the instance must be registered again
	OtherOwner      = TypePrefix + "other-owner"    // another owner registered the live instance
	StaleEpoch      = TypePrefix + "stale-epoch"    // another registration is live, or none is
	AlreadyLive     = TypePrefix + "exists"         // a registration that may only create found a live instance
	OtherTimeline   = TypePrefix + "other-timeline" // the position counts other events in this log
	InvalidField    = TypePrefix + "invalid-field"  // a parameter, a header or a field of the body breaks a rule
	NoSuchRoute     = TypePrefix + "no-such-route"  // the server has nothing at the path: the URL is wrong, or the server older
)

// Kind is the type without the prefix.
func (p *Problem) Kind() string { return strings.TrimPrefix(p.Type, TypePrefix) }

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return fmt.Sprintf("the server answered %d %s", p.Status, http.StatusText(p.Status))
}
