package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Instance is a live instance, or an instance that was live at a past moment. Its status is the status at that moment.
type Instance struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	ID        string `json:"id"`
	domain.Details
	Checks         []Check               `json:"checks,omitempty"`    // in place of Details.Checks: with their state
	Reported       domain.Status         `json:"reported,omitempty"`  // what it says of itself, where its status is another
	LapsedAt       *time.Time            `json:"lapsed_at,omitempty"` // when its lease lapsed to critical; absent: it did not
	Traffic        domain.Traffic        `json:"traffic"`
	Maintenance    *domain.InMaintenance `json:"maintenance,omitempty"` // who put it into maintenance, when and why
	Epoch          uint64                `json:"epoch"`
	Owner          string                `json:"owner,omitempty"`
	Revision       uint64                `json:"revision"`
	RegisteredAt   time.Time             `json:"registered_at"`
	ChangedAt      time.Time             `json:"changed_at"`
	LeaseExpiresAt *time.Time            `json:"lease_expires_at,omitempty"`
	ExpiryHeld     *ExpiryHeld           `json:"expiry_held,omitempty"` // in its namespace now; only where one instance is asked for

	Panic bool `json:"-"` // its service panics, so that it is given whether it is ready or not; see Given
}

// Key names the instance.
func (i *Instance) Key() domain.Key {
	return domain.Key{Namespace: i.Namespace, Service: i.Service, ID: i.ID}
}

// DefaultPort is the port of a client that names none: the one named default, or else http, or else the first by name; 0:
// the instance has no port.
func (i *Instance) DefaultPort() uint16 {
	for _, usual := range []string{"default", "http"} {
		if port, ok := i.Ports[usual]; ok {
			return port
		}
	}
	first := ""
	for name := range i.Ports {
		if first == "" || name < first {
			first = name
		}
	}
	return i.Ports[first]
}

// Check is a check of an instance with its state.
type Check struct {
	domain.Check
	Status domain.Status `json:"status"`
	Since  time.Time     `json:"since"`            // of the status
	Output string        `json:"output,omitempty"` // of the change to the status
	By     string        `json:"by,omitempty"`     // the node that saw the change

	// Only where one instance, or the checks of a service, are asked for.
	Flapping bool       `json:"flapping,omitempty"`  // the status changed very often of late
	LapsesAt *time.Time `json:"lapses_at,omitempty"` // of a ttl check: unless it is reported before
	NextLook *time.Time `json:"next_look,omitempty"` // of a probed check, where this node knows it
	LookedBy string     `json:"looked_by,omitempty"` // the node that looks now, where this node knows it
}

// InstanceChecks are the checks of one instance.
type InstanceChecks struct {
	Namespace string        `json:"namespace"`
	Service   string        `json:"service"`
	ID        string        `json:"id"`
	Status    domain.Status `json:"status"` // the instance's
	Checks    []Check       `json:"checks"`
}

// CheckList is the checks of a service's instances, in the order of their ids. Instances without a check are left out.
type CheckList struct {
	Namespace string           `json:"namespace"`
	Service   string           `json:"service"`
	Position  Position         `json:"position"`
	Instances []InstanceChecks `json:"instances"`
}

// InstanceList is some or all instances of a service.
type InstanceList struct {
	Service   string     `json:"service"`
	Namespace string     `json:"namespace"`
	Position  Position   `json:"position"`        // of the service's newest change; in a stream's snapshot, up to where the snapshot is
	Next      string     `json:"next,omitempty"`  // cursor of the next page; "": this is the last
	Note      string     `json:"note,omitempty"`  // of the moment that was asked for, e.g. that it is before the first event
	Panic     *Panic     `json:"panic,omitempty"` // the service panics now; absent: it does not
	Instances []Instance `json:"instances"`
}

// ServiceSummary counts a service's instances.
type ServiceSummary struct {
	Namespace string                `json:"namespace"`
	Service   string                `json:"service"`
	Instances int                   `json:"instances"`
	Ready     int                   `json:"ready"` // may get traffic
	Statuses  map[domain.Status]int `json:"statuses"`
	States    map[string]int        `json:"states"`     // by traffic; instances that serve, by status
	ChangedAt time.Time             `json:"changed_at"` // the newest change to an instance that is there
	Position  Position              `json:"position"`   // of the newest change

	ExpiryHeld *ExpiryHeld `json:"expiry_held,omitempty"` // in its namespace now; only where one service is asked for
	Panic      *Panic      `json:"panic,omitempty"`       // the service panics now; absent: it does not
}

// Count counts an instance.
func (s *ServiceSummary) Count(status domain.Status, traffic domain.Traffic, ready bool, changed time.Time) {
	s.Instances++
	s.Statuses[status]++
	if traffic == domain.Serving {
		s.States[string(status)]++
	} else {
		s.States[string(traffic)]++
	}
	if ready {
		s.Ready++
	}
	if changed.After(s.ChangedAt) {
		s.ChangedAt = changed
	}
}

// NewServiceSummary is the summary of a service before its instances are counted.
func NewServiceSummary(service domain.ServiceKey) ServiceSummary {
	return ServiceSummary{Namespace: service.Namespace, Service: service.Service, Statuses: map[domain.Status]int{}, States: map[string]int{}}
}

// ServiceList is the services of a namespace, or of all.
type ServiceList struct {
	Position Position         `json:"position"`       // of the newest change to any service
	Next     string           `json:"next,omitempty"` // cursor of the next page; "": this is the last
	Note     string           `json:"note,omitempty"` // of the moment that was asked for, e.g. that it is before the first event
	Services []ServiceSummary `json:"services"`
	// ExpiryHeld are the namespaces in which expiry is held now; "*": those that are not named.
	ExpiryHeld map[string]ExpiryHeld `json:"expiry_held,omitempty"`
}

// NamespaceSummary counts what a namespace has.
type NamespaceSummary struct {
	Namespace string   `json:"namespace"`
	Services  int      `json:"services"`
	Instances int      `json:"instances"`
	Ready     int      `json:"ready"`    // may get traffic
	Position  Position `json:"position"` // of the newest change to a service, or a later one; it never falls
}

// NamespaceList is the namespaces that have instances.
type NamespaceList struct {
	Position   Position           `json:"position"`       // of the newest change to any service
	Note       string             `json:"note,omitempty"` // of the moment that was asked for, e.g. that it is before the first event
	Namespaces []NamespaceSummary `json:"namespaces"`
}

// ServiceInstances is a service with all its instances.
type ServiceInstances struct {
	Namespace string     `json:"namespace"`
	Service   string     `json:"service"`
	Panic     *Panic     `json:"panic,omitempty"` // the service panics now; absent: it does not
	Instances []Instance `json:"instances"`
}

// Place is a moment as replies name it.
type Place struct {
	Position Position   `json:"position"`
	Time     *time.Time `json:"time,omitempty"` // where a time was asked for
	Note     string     `json:"note,omitempty"`
}

// Catalog is every service with its instances, now or at a moment.
type Catalog struct {
	Place
	Next     string             `json:"next,omitempty"` // cursor of the next page; "": this is the last
	Services []ServiceInstances `json:"services"`
}

// CatalogSnapshot is what a stream of the whole catalog begins with.
type CatalogSnapshot struct {
	Position Position           `json:"position"`
	Services []ServiceInstances `json:"services"`
}

// The operations of a change: put an instance, or delete it.
const (
	Put    = "put"
	Delete = "delete"
)

// Change is what a subscriber is told of one event: what to do to its copy of the catalog, and why.
type Change struct {
	Position   Position  `json:"position"`
	Op         string    `json:"op"` // put or delete
	Namespace  string    `json:"namespace"`
	Service    string    `json:"service"`
	ID         string    `json:"id"`
	Type       string    `json:"type"`    // of the event
	Summary    string    `json:"summary"` // what happened, in words
	Actor      string    `json:"actor,omitempty"`
	Via        string    `json:"via,omitempty"`
	RecordedAt time.Time `json:"recorded_at"`
	Instance   *Instance `json:"instance,omitempty"` // of a put
}
