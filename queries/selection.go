package queries

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Selection picks events. A Selection means the same in queries, streams, topics, webhooks and brokers. The zero
// Selection picks all events but heartbeats.
type Selection struct {
	Namespace  string   // "": every namespace, and events of no namespace; with Service: "default"
	Service    string   // "": every service
	Instance   string   // the id of one instance of the service; "": every instance
	Types      []string // any of these types, which may name heartbeats; empty: every type
	Heartbeats bool     // also heartbeats; used only if Types is empty
	Instances  bool     // only events of instances, of any namespace
	Visible    Visible  // limits what is picked; nil: everything is. It is not a part of the selection's text
}

var webhookTypes = []string{
	domain.TypeWebhookCreated, domain.TypeWebhookPaused, domain.TypeWebhookResumed, domain.TypeWebhookReplayed, domain.TypeWebhookDeleted,
}

// eventTypes are the types that a selection may name. The types of instances' events come first.
var eventTypes = slices.Concat(domain.LifecycleTypes, []string{domain.TypeHeartbeatReceived, domain.TypeSelfPreservationStarted, domain.TypeSelfPreservationEnded, domain.TypeListeningInterrupted, domain.TypeTimelineBegan}, webhookTypes, domain.AccessTypes, domain.PolicyTypes, domain.ClusterTypes)

// EventTypes are the types that a selection may name.
func EventTypes() []string { return slices.Clone(eventTypes) }

// OfNamespaces says whether events of one of the types are of a namespace; no type means all types.
func OfNamespaces(types []string) bool {
	return len(types) == 0 || slices.ContainsFunc(types, ofInstance)
}

// SelectionParameters are the names of the parameters that ParseSelection reads.
var SelectionParameters = []string{"ns", "namespace", "service", "instance", "type", "heartbeats"}

// ParseSelection reads a selection from the parameters ns, service, instance, type and heartbeats. The caller reads the
// parameters in also. Other parameters are refused.
func ParseSelection(values url.Values, also ...string) (s Selection, err error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(SelectionParameters, name) && !slices.Contains(also, name) {
			return s, domain.InvalidField{Field: name, Rule: "is not a known parameter"}
		}
	}
	if s.Namespace, err = ParseNamespace(values); err != nil {
		return s, err
	}
	s.Service, s.Instance = values.Get("service"), values.Get("instance")
	if s.Namespace == AllNamespaces && s.Service != "" {
		return s, domain.InvalidField{Field: "ns", Rule: "must be one namespace where a service is given"}
	}
	s.Namespace = OneNamespace(s.Namespace)
	for _, list := range values["type"] {
		s.Types = append(s.Types, strings.Split(list, ",")...)
	}
	if values.Has("heartbeats") {
		if s.Heartbeats, err = ParseBool("heartbeats", values.Get("heartbeats")); err != nil {
			return s, err
		}
	}
	return s, s.Validate()
}

// ParseNamespace reads the parameter ns, whose other name is namespace; "": neither is given.
func ParseNamespace(values url.Values) (string, error) {
	short, long := values.Get("ns"), values.Get("namespace")
	if values.Has("ns") && values.Has("namespace") && short != long {
		return "", domain.InvalidField{Field: "namespace", Rule: "must be the same as ns: they are two names of one parameter"}
	}
	if short == "" {
		return long, nil
	}
	return short, nil
}

// ParseBool reads a parameter that is true or false. A parameter without a value is true.
func ParseBool(field, text string) (bool, error) {
	switch text {
	case "true", "1", "":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, domain.InvalidField{Field: field, Rule: "must be true or false"}
}

// WebhookSelection is the selection of a webhook's specification: events of instances only.
func WebhookSelection(spec domain.WebhookSpec) Selection {
	return Selection{Namespace: spec.Namespace, Service: spec.Service, Types: spec.Types, Instances: true}
}

// Validate refuses a selection that breaks a rule, and a selection that can never pick an event.
func (s Selection) Validate() error {
	for _, t := range s.Types {
		switch {
		case !slices.Contains(eventTypes, t):
			return domain.InvalidField{Field: "type", Rule: "must be one of " + strings.Join(eventTypes, ", ")}
		case s.ofInstances() && !ofInstance(t):
			return domain.InvalidField{Field: "type", Rule: "must be a type of instances' events: " + t + " is of no namespace, service or instance"}
		}
	}
	_, err := s.prefixes()
	return err
}

// ofInstance says whether events of the type are of an instance.
func ofInstance(eventType string) bool {
	return eventType == domain.TypeHeartbeatReceived || slices.Contains(domain.LifecycleTypes, eventType)
}

// ofInstances says whether only events of instances are picked.
func (s Selection) ofInstances() bool { return s.Instances || s.Namespace != "" || s.Service != "" }

// heartbeats says whether heartbeats are picked.
func (s Selection) heartbeats() bool {
	if len(s.Types) > 0 {
		return slices.Contains(s.Types, domain.TypeHeartbeatReceived)
	}
	return s.Heartbeats
}

// others says whether events of another type than heartbeats are picked.
func (s Selection) others() bool {
	return len(s.Types) == 0 || slices.ContainsFunc(s.Types, func(t string) bool { return t != domain.TypeHeartbeatReceived })
}

// Filter is the selection as a filter of an event store.
func (s Selection) Filter() (f eventstore.Filter, err error) {
	if err := s.Validate(); err != nil {
		return f, err
	}
	f.Types, f.Exact = s.Types, s.Instance != ""
	f.StreamPrefixes, err = s.prefixes()
	return f, err
}

func (s Selection) prefixes() ([]string, error) {
	prefixes, err := eventstore.Prefixes(s.Namespace, s.Service, s.Instance, s.heartbeats())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(prefixes, func(prefix string) bool {
		switch {
		case strings.HasPrefix(prefix, eventstore.HeartbeatPrefix):
			return false
		case !s.others():
			return true
		}
		return s.Instances && !strings.HasPrefix(prefix, eventstore.LifecyclePrefix)
	}), nil
}
