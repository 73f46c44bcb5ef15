package domain

import (
	"fmt"
	"net/url"
	"slices"
)

// Names of the stored event types of webhooks.
const (
	TypeWebhookCreated  = "WebhookCreated"
	TypeWebhookPaused   = "WebhookPaused"
	TypeWebhookResumed  = "WebhookResumed"
	TypeWebhookReplayed = "WebhookReplayed"
	TypeWebhookDeleted  = "WebhookDeleted"
)

// MaxURL is how long a webhook's URL may be, in bytes.
const MaxURL = 2048

// WebhookSpec says which events a webhook delivers, and to which URL.
type WebhookSpec struct {
	URL       string   `json:"url"`
	Namespace string   `json:"namespace,omitempty"` // "": every namespace
	Service   string   `json:"service,omitempty"`   // "": every service
	Types     []string `json:"types,omitempty"`     // event types; none: all types but heartbeats
}

// Validate gives an error that names the first field that breaks its rule.
func (s WebhookSpec) Validate() error {
	rule := InvalidField{Field: "url", Rule: fmt.Sprintf("must be an http or https URL with a host, without credentials, of at most %d bytes", MaxURL)}
	u, err := url.Parse(s.URL)
	if err != nil || len(s.URL) > MaxURL || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return rule
	}
	if !hasGoodPort(u) {
		return InvalidField{Field: "url", Rule: badPort}
	}
	if s.Namespace != "" {
		if err := ValidateLabel("namespace", s.Namespace); err != nil {
			return err
		}
	}
	if s.Service != "" {
		if err := ValidateService("service", s.Service); err != nil {
			return err
		}
	}
	for i, t := range s.Types {
		if !slices.Contains(LifecycleTypes, t) && t != TypeHeartbeatReceived {
			return InvalidField{Field: element("types", i), Rule: "must be a type of instances' events"}
		}
	}
	return nil
}

// ShownURL is what anyone may see of a target: its scheme, host and port. Paths and queries often hold a token, so that
// "/..." stands for whatever follows.
func ShownURL(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "..."
	}
	shown := u.Scheme + "://" + u.Host
	if u.RequestURI() == "/" {
		return shown + u.Path
	}
	return shown + "/..."
}

// LifecycleTypes are the types of the events in an instance's lifecycle stream.
var LifecycleTypes = []string{
	TypeInstanceRegistered, TypeInstanceUpdated, TypeHealthChanged, TypeTrafficChanged, TypeInstanceDeregistered, TypeLeaseExpired,
	TypeCheckAdded, TypeCheckRemoved, TypeCheckChanged,
}

// WebhookCreated creates a webhook. It delivers the events after a position.
type WebhookCreated struct {
	WebhookSpec        // Its URL is the ShownURL where Target has the whole one
	After       uint64 `json:"after,string"`     // position
	Secret      []byte `json:"secret"`           // sealed: only the registry's key opens it
	Target      []byte `json:"target,omitempty"` // sealed URL; none: the spec's URL is whole, as in schema version 1
}

// WebhookPaused stops deliveries. Events wait until the webhook is resumed.
type WebhookPaused struct {
	Reason string `json:"reason,omitempty"`
}

// WebhookResumed continues deliveries after the last delivered event.
type WebhookResumed struct{}

// WebhookReplayed makes deliveries begin again after a position, which may be earlier or later.
type WebhookReplayed struct {
	After uint64 `json:"after,string"`
}

// WebhookDeleted ends a webhook for ever.
type WebhookDeleted struct {
	Reason string `json:"reason,omitempty"`
}

func (WebhookCreated) EventType() string  { return TypeWebhookCreated }
func (WebhookPaused) EventType() string   { return TypeWebhookPaused }
func (WebhookResumed) EventType() string  { return TypeWebhookResumed }
func (WebhookReplayed) EventType() string { return TypeWebhookReplayed }
func (WebhookDeleted) EventType() string  { return TypeWebhookDeleted }

// Webhook is a webhook's state: the fold of its stream.
type Webhook struct {
	ID      string
	Spec    WebhookSpec
	Secret  []byte // sealed
	Target  []byte `json:",omitempty"` // sealed URL; none: the spec's URL is whole
	After   uint64 // deliveries begin after this position, which its creation or its last replay set
	Begun   uint64 // revision of the event that set After
	Paused  bool
	Reason  string // of the pause
	Deleted bool
	Events  uint64
}

// Exists says whether the webhook was created and not deleted.
func (w Webhook) Exists() bool { return w.Events > 0 && !w.Deleted }

// The commands to a webhook.
type (
	// CreateWebhook creates a webhook.
	CreateWebhook struct {
		Spec   WebhookSpec
		After  uint64
		Secret []byte // sealed
		Target []byte // the spec's URL, sealed
	}
	// PauseWebhook stops deliveries.
	PauseWebhook struct{ Reason string }
	// ResumeWebhook continues deliveries.
	ResumeWebhook struct{}
	// ReplayWebhook makes deliveries begin again after a position.
	ReplayWebhook struct{ After uint64 }
	// DeleteWebhook deletes the webhook.
	DeleteWebhook struct{ Reason string }
)

// WebhookCommand is a command to one webhook.
type WebhookCommand interface{ webhook() }

func (CreateWebhook) webhook() {}
func (PauseWebhook) webhook()  {}
func (ResumeWebhook) webhook() {}
func (ReplayWebhook) webhook() {}
func (DeleteWebhook) webhook() {}

// UnknownWebhook refuses a command to a webhook that does not exist.
type UnknownWebhook struct{ ID string }

func (e UnknownWebhook) Error() string { return fmt.Sprintf("webhook %s does not exist", e.ID) }

// DecideWebhook gives the event that a command to a webhook causes, or the reason why the command is refused. No event and
// no error means that the state is already the one that the command asks for.
func DecideWebhook(w Webhook, command WebhookCommand) (Event, error) {
	if c, ok := command.(CreateWebhook); ok {
		if w.Events > 0 {
			return nil, InvalidField{Field: "id", Rule: "must not be taken"}
		}
		if err := c.Spec.Validate(); err != nil {
			return nil, err
		}
		return c.created()
	}
	if !w.Exists() {
		return nil, UnknownWebhook{ID: w.ID}
	}
	switch c := command.(type) {
	case PauseWebhook:
		err := ValidateReason(c.Reason)
		if w.Paused {
			return nil, err
		}
		return WebhookPaused(c), err
	case ResumeWebhook:
		if !w.Paused {
			return nil, nil
		}
		return WebhookResumed{}, nil
	case ReplayWebhook:
		return WebhookReplayed(c), nil
	case DeleteWebhook:
		return WebhookDeleted(c), ValidateReason(c.Reason)
	}
	panic(fmt.Sprintf("domain: no rule for command %T", command))
}

// created keeps of the URL only what anyone may see, and the whole in its sealed form.
func (c CreateWebhook) created() (Event, error) {
	e := WebhookCreated{WebhookSpec: c.Spec, After: c.After, Secret: c.Secret}
	if e.URL = ShownURL(c.Spec.URL); e.URL != c.Spec.URL {
		if e.Target = c.Target; len(e.Target) == 0 {
			return nil, InvalidField{Field: "target", Rule: "must be the sealed url"}
		}
	}
	return e, nil
}

// EvolveWebhook applies one event of a webhook's stream.
func EvolveWebhook(w Webhook, event Event) Webhook {
	switch e := event.(type) {
	case WebhookCreated:
		w.Spec, w.Secret, w.Target, w.After, w.Begun = e.WebhookSpec, e.Secret, e.Target, e.After, w.Events
	case WebhookPaused:
		w.Paused, w.Reason = true, e.Reason
	case WebhookResumed:
		w.Paused, w.Reason = false, ""
	case WebhookReplayed:
		w.After, w.Begun = e.After, w.Events
	case WebhookDeleted:
		w.Deleted = true
	default:
		return w
	}
	w.Events++
	return w
}
