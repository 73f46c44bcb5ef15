package stream

import (
	"net/url"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// Selection is which events a topic picks.
type Selection interface {
	Filter() (eventstore.Filter, error)
}

// ParseTopic reads a topic: "events" for all events but heartbeats, or with parameters as /v1/events
// takes them, e.g.
//
//	events?service=checkout&type=InstanceDeregistered,LeaseExpired
//	events?ns=shop&heartbeats=true
func ParseTopic(topic string) (queries.Selection, error) {
	name, query, _ := strings.Cut(topic, "?")
	values, err := url.ParseQuery(query)
	if err != nil || name != "events" {
		return queries.Selection{}, domain.InvalidField{Field: "topic", Rule: "must be events, or events? with ns, service, instance, type or heartbeats"}
	}
	return queries.ParseSelection(values)
}
