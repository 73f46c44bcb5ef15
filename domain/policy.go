package domain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of the events of policies.
const (
	TypePolicySet        = "PolicySet"
	TypePolicyRemoved    = "PolicyRemoved"
	TypeRemovalAdmitted  = "RemovalAdmitted"
	TypeRemovalsStopped  = "RemovalsStopped"
	TypeRemovalWithdrawn = "RemovalWithdrawn"
)

// PolicyTypes are the types of the events in the streams of policies and guards.
var PolicyTypes = []string{TypePolicySet, TypePolicyRemoved, TypeRemovalAdmitted, TypeRemovalsStopped, TypeRemovalWithdrawn}

// MaxRemovalsWithin is the longest span of Removals.
const MaxRemovalsWithin = 24 * time.Hour

// Amount is a number of instances ("2"), or a share of a service's instances ("50%"). "": none is set.
type Amount string

// Of is the amount of a total, rounded up.
func (a Amount) Of(total int) int {
	if share, ok := strings.CutSuffix(string(a), "%"); ok {
		n, _ := strconv.Atoi(share)
		return (total*n + 99) / 100
	}
	n, _ := strconv.Atoi(string(a))
	return n
}

func (a Amount) validate(field string) error {
	if a == "" {
		return nil
	}
	share, isShare := strings.CutSuffix(string(a), "%")
	n, err := strconv.Atoi(share)
	if err != nil || strconv.Itoa(n) != share || n < 1 || n > 1_000_000 || isShare && n > 100 {
		return InvalidField{Field: field, Rule: `must be a number of instances from 1 to 1000000, or a share of them from "1%" to "100%"`}
	}
	return nil
}

// validateShare is validate for what can be a share only.
func (a Amount) validateShare(field string) error {
	if a == "" {
		return nil
	}
	if !strings.HasSuffix(string(a), "%") || a.validate(field) != nil {
		return InvalidField{Field: field, Rule: `must be a share of a service's instances, from "1%" to "100%"`}
	}
	return nil
}

// exceeds says whether a share is greater than a part of a total.
func (a Amount) exceeds(part, total int) bool {
	share, _ := strconv.Atoi(strings.TrimSuffix(string(a), "%"))
	return share*total > 100*part
}

// Removals limits how many instances one actor takes out of traffic within a span.
type Removals struct {
	Count  int      `json:"count"`
	Within Duration `json:"within"`
}

// PolicySpec is what a policy asks for, and of which services.
type PolicySpec struct {
	Namespace   Pattern   `json:"namespace,omitempty"` // "": "*"
	Service     Pattern   `json:"service,omitempty"`   // "": "*"
	MinReady    Amount    `json:"min_ready,omitempty"` // instances that others than the instance itself must leave ready
	MaxRemovals *Removals `json:"max_removals,omitempty"`
	KeepLast    int       `json:"keep_last,omitempty"` // instances that become critical when their leases lapse, instead of vanishing; 0: none
	// PanicThreshold is a share ("50%"): when a smaller share of a service is ready, lookups of ready instances give all.
	PanicThreshold Amount `json:"panic_threshold,omitempty"`
	Description    string `json:"description,omitempty"`
}

// Matches says whether the policy is for a service.
func (p PolicySpec) Matches(k ServiceKey) bool {
	return p.Namespace.Match(k.Namespace) && p.Service.Match(k.Service)
}

// Panics says whether so few of a service's instances are ready that lookups of ready instances give all of them.
func (p PolicySpec) Panics(ready, total int) bool {
	return p.PanicThreshold != "" && p.PanicThreshold.exceeds(ready, total)
}

// Panic says whether a service panics, and by which policy.
type Panic struct {
	Policy       *Policy // nil: it does not panic
	Ready, Total int     // instances of the service: ready, all
}

func (p PolicySpec) normalize() PolicySpec {
	if p.Namespace == "" {
		p.Namespace = "*"
	}
	if p.Service == "" {
		p.Service = "*"
	}
	return p
}

func (p PolicySpec) validate() error {
	if err := p.Namespace.validate("namespace", ValidateLabel); err != nil {
		return err
	}
	if err := p.Service.validate("service", ValidateService); err != nil {
		return err
	}
	if err := p.MinReady.validate("min_ready"); err != nil {
		return err
	}
	if r := p.MaxRemovals; r != nil {
		if r.Count < 1 || r.Count > 1_000_000 {
			return InvalidField{Field: "max_removals.count", Rule: "must be 1-1000000"}
		}
		if d := time.Duration(r.Within); d < time.Second || d > MaxRemovalsWithin {
			return InvalidField{Field: "max_removals.within", Rule: "must be from 1s to 24h"}
		}
	}
	if p.KeepLast < 0 || p.KeepLast > 1_000_000 {
		return InvalidField{Field: "keep_last", Rule: "must be 1-1000000, or left out"}
	}
	if err := p.PanicThreshold.validateShare("panic_threshold"); err != nil {
		return err
	}
	if p.MinReady == "" && p.MaxRemovals == nil && p.KeepLast == 0 && p.PanicThreshold == "" {
		return InvalidField{Field: "min_ready", Rule: "is needed, or max_removals, keep_last or panic_threshold: a policy must ask for something"}
	}
	return validateText("description", p.Description, 0, MaxDescription)
}

// Equal says whether two specifications ask for the same.
func (p PolicySpec) Equal(q PolicySpec) bool {
	a, b := p.MaxRemovals, q.MaxRemovals
	p.MaxRemovals, q.MaxRemovals = nil, nil
	return p == q && (a == b || a != nil && b != nil && *a == *b)
}

// PolicySet makes a policy, or gives it another specification.
type PolicySet struct {
	Name string `json:"name"`
	PolicySpec
}

// PolicyRemoved ends a policy.
type PolicyRemoved struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
}

// Removal is how an instance is taken out of traffic.
type Removal string

// The removals.
const (
	RemovedByDrain          Removal = "drain"
	RemovedByMaintenance    Removal = "maintenance"
	RemovedByDeregistration Removal = "deregistration"
)

// RemovalAdmitted says that policies let an actor take an instance out of traffic. The removal itself is an event of the
// instance; it follows, or RemovalWithdrawn does where the instance changed meanwhile, or where the removal was to be done only together
// with others of which one was refused.
type RemovalAdmitted struct {
	Policies []string `json:"policies"` // names of the policies that were asked
	Service  string   `json:"service"`
	Instance string   `json:"instance"`
	Events   uint64   `json:"events"` // lifecycle events of the instance at the decision
	Removal  Removal  `json:"removal"`
	Ready    int      `json:"ready"` // instances of the service that were ready
	Left     int      `json:"left"`  // and that are left ready
	Total    int      `json:"total"`
	Forced   bool     `json:"forced,omitempty"` // a policy refused, and the actor insisted
	Reason   string   `json:"reason,omitempty"`
}

// RemovalWithdrawn takes back the newest RemovalAdmitted of the instance at that number of events: nothing was removed, so nothing counts.
type RemovalWithdrawn struct {
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Events   uint64 `json:"events"`
}

// RemovalsStopped says that an actor reached the limit of a policy.
type RemovalsStopped struct {
	Policy  string   `json:"policy"`
	Actor   string   `json:"actor"`
	Removed int      `json:"removed"`
	Within  Duration `json:"within"`
}

func (PolicySet) EventType() string        { return TypePolicySet }
func (PolicyRemoved) EventType() string    { return TypePolicyRemoved }
func (RemovalAdmitted) EventType() string  { return TypeRemovalAdmitted }
func (RemovalsStopped) EventType() string  { return TypeRemovalsStopped }
func (RemovalWithdrawn) EventType() string { return TypeRemovalWithdrawn }

// Policy is a policy as it stands.
type Policy struct {
	Name string
	PolicySpec
	By string // who set it
	At time.Time
}

// PolicyCommand changes policies.
type PolicyCommand interface{ policyCommand() }

// SetPolicy makes a policy, or gives it another specification.
type SetPolicy struct {
	Name string
	Spec PolicySpec
}

// RemovePolicy ends a policy.
type RemovePolicy struct{ Name, Reason string }

func (SetPolicy) policyCommand()    {}
func (RemovePolicy) policyCommand() {}

// UnknownPolicy refuses a command to a policy that does not exist.
type UnknownPolicy struct{ Name string }

func (e UnknownPolicy) Error() string { return fmt.Sprintf("policy %q does not exist", e.Name) }

// Guarded refuses a removal because of a policy.
type Guarded struct {
	Policy             Policy
	Key                Key
	Ready, Left, Total int // instances of the service: ready, left ready, all
	Needed             int // instances that must be left ready
	Actor              string
	Removed            int // instances that the actor removed within the policy's span; 0: MinReady refuses
}

func (e Guarded) Error() string {
	who := e.Policy.By
	if who == "" {
		who = Anonymous
	}
	by := fmt.Sprintf("policy %s, set by %s at %s", e.Policy.Name, who, e.Policy.At.UTC().Format(time.RFC3339))
	if r := e.Policy.MaxRemovals; e.Removed > 0 && r != nil {
		return fmt.Sprintf("%s, lets one actor remove %d instances within %s, and %s removed %d", by, r.Count, time.Duration(r.Within), e.Actor, e.Removed)
	}
	return fmt.Sprintf("%s, keeps %s of the instances of %s ready (%d of %d): %d are ready, and %d would be left",
		by, e.Policy.MinReady, e.Key.ServiceKey(), e.Needed, e.Total, e.Ready, e.Left)
}

// Policies is the state of all policies: the fold of their stream.
type Policies struct {
	Events uint64    // of the stream
	sorted []*Policy // by name; never changed, nor are the policies
}

// List are the policies by name. REQUIRES: the caller changes none of them.
func (p *Policies) List() []*Policy { return p.sorted }

// Find is a policy; nil: there is none.
func (p *Policies) Find(name string) *Policy {
	if at, ok := p.find(name); ok {
		return p.sorted[at]
	}
	return nil
}

func (p *Policies) find(name string) (at int, ok bool) {
	return slices.BinarySearchFunc(p.sorted, name, func(p *Policy, name string) int { return strings.Compare(p.Name, name) })
}

// Decide gives the event that a command causes; nil: the state is already the one that the command asks for.
func (p *Policies) Decide(command PolicyCommand) (Event, error) {
	switch c := command.(type) {
	case SetPolicy:
		if err := validateAccessName("name", c.Name); err != nil {
			return nil, err
		}
		spec := c.Spec.normalize()
		if err := spec.validate(); err != nil {
			return nil, err
		}
		if present := p.Find(c.Name); present != nil && present.Equal(spec) {
			return nil, nil
		}
		return PolicySet{Name: c.Name, PolicySpec: spec}, nil
	case RemovePolicy:
		if p.Find(c.Name) == nil {
			return nil, UnknownPolicy{Name: c.Name}
		}
		return PolicyRemoved(c), ValidateReason(c.Reason)
	}
	panic(fmt.Sprintf("domain: no rule for command %T", command))
}

// Apply folds one event into a new state; the one before stays as it is. It copies a pointer for each policy, and no policy.
func (p Policies) Apply(event Event, recorded Recorded) Policies {
	p.Events++
	switch e := event.(type) {
	case PolicySet:
		set := &Policy{Name: e.Name, PolicySpec: e.PolicySpec, By: recorded.Actor, At: recorded.At}
		at, found := p.find(e.Name)
		p.sorted = slices.Clone(p.sorted)
		if found {
			p.sorted[at] = set
		} else {
			p.sorted = slices.Insert(p.sorted, at, set)
		}
	case PolicyRemoved:
		if at, found := p.find(e.Name); found {
			p.sorted = slices.Delete(slices.Clone(p.sorted), at, at+1)
		}
	}
	return p
}
