package webhooks

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// index finds the webhooks that pick an event. A test holds index to the meaning of queries.WebhookSelection.
type index struct {
	by    map[domain.ServiceKey]map[*hook]struct{} // by what they are narrowed to; no service, no namespace: all
	beats int                                      // webhooks in it that pick heartbeats
}

func newIndex() index { return index{by: make(map[domain.ServiceKey]map[*hook]struct{})} }

// narrowed is what a webhook's specification is narrowed to. A service without a namespace is in the default one.
func narrowed(spec domain.WebhookSpec) domain.ServiceKey {
	key := domain.ServiceKey{Namespace: spec.Namespace, Service: spec.Service}
	if key.Service != "" && key.Namespace == "" {
		key.Namespace = domain.DefaultNamespace
	}
	return key
}

func (x *index) add(h *hook) {
	key := narrowed(h.webhook.Spec)
	hooks := x.by[key]
	if hooks == nil {
		hooks = make(map[*hook]struct{})
		x.by[key] = hooks
	}
	if _, there := hooks[h]; !there && h.beats() {
		x.beats++
	}
	hooks[h] = struct{}{}
}

func (x *index) remove(h *hook) {
	key := narrowed(h.webhook.Spec)
	hooks := x.by[key]
	if _, there := hooks[h]; !there {
		return
	}
	if h.beats() {
		x.beats--
	}
	if delete(hooks, h); len(hooks) == 0 {
		delete(x.by, key)
	}
}

// find calls f with each webhook that picks the event.
func (x *index) find(e *eventstore.RecordedEvent, f func(*hook)) {
	key, ok := e.Stream.InstanceKey()
	if !ok {
		return
	}
	t := typeOf(e.Type)
	for _, k := range [...]domain.ServiceKey{{}, {Namespace: key.Namespace}, {Namespace: key.Namespace, Service: key.Service}} {
		for h := range x.by[k] {
			if h.picks&t != 0 && passes(h.webhook.Spec, key.Namespace) {
				f(h)
			}
		}
	}
}

// passes says whether a webhook picks events of a namespace. The nodes of the registry are in one of their own, which a webhook
// must name.
func passes(spec domain.WebhookSpec, namespace string) bool {
	return spec.Namespace != "" || namespace != domain.RegistryNamespace
}

// typeSet is a set of types of instances' events, one bit each.
type typeSet uint16

const (
	heartbeatType typeSet = 1 << iota
	unknownType           // of another version
	firstType             // of domain.LifecycleTypes; the others follow
)

func typeOf(name string) typeSet {
	if name == domain.TypeHeartbeatReceived {
		return heartbeatType
	}
	if i := slices.Index(domain.LifecycleTypes, name); i >= 0 {
		return firstType << i
	}
	return unknownType
}

// picks is the set that a webhook's specification names; none: all but heartbeats.
func picks(types []string) (set typeSet) {
	if len(types) == 0 {
		return ^heartbeatType
	}
	for _, name := range types {
		set |= typeOf(name)
	}
	return set
}
