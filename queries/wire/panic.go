package wire

import "github.com/rollcall-registry/rollcall/domain"

// HeaderPanic is the header of a reply that gives all instances of services that panic, where ready ones were asked for. It has
// the names of the policies.
const HeaderPanic = "Rollcall-Panic"

// Panic says that so few instances of a service are ready that lookups of ready instances give all of them.
type Panic struct {
	Policy    string `json:"policy"`    // the policy that asks for it
	Threshold string `json:"threshold"` // the share that it asks for: "50%"
	Ready     int    `json:"ready"`     // instances that are ready
	Instances int    `json:"instances"` // all
}

// ServicePanic is the panic of a service.
type ServicePanic struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Panic
}

// Panics are all services that panic, of those that a stream tells of.
type Panics struct {
	Services []ServicePanic `json:"services"`
}

// Ready says whether the instance is fit for traffic: passing or warning, and serving.
func (i *Instance) Ready() bool {
	return i.Traffic == domain.Serving && (i.Status == domain.Passing || i.Status == domain.Warning)
}

// Given says whether a lookup of ready instances gives the instance: it is ready, or its service panics.
func (i *Instance) Given() bool { return i.Panic || i.Ready() }
