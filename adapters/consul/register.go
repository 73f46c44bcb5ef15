package consul

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

func (f *face) registerService(q *request) error {
	var body serviceRegistration
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.Name == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	if err := q.within(body.tenancies()...); err != nil {
		return err
	}
	if body.Token != "" && f.Access != nil && q.Request().Header.Get("Authorization") == "" {
		who, err := f.identify(q, body.Token)
		if err != nil {
			return err
		}
		q.who = who
	}
	if body.ID == "" {
		body.ID = body.Name
	}
	value := q.query.Get("replace-existing-checks")
	replace := q.query.Has("replace-existing-checks") && (value == "" || value == "true") // any other value is none, as with Consul
	n := nodeOf(q)
	planned := func() (plan, error) { return f.plan(q, n, body, replace, origin{}) }
	p, err := planned()
	if err != nil {
		return err
	}
	if err := f.register(q, n, body.ID, p, planned); err != nil {
		return err
	}
	return done(q)
}

// do carries out a command as the request's caller.
func (f *face) do(q *request, command domain.Command) (commands.Result, error) {
	allowed, err := q.who.Command(command)
	if err != nil {
		return commands.Result{}, err
	}
	result := f.Commands.Do(q.Request().Context(), q.caller(), commands.Request{Command: allowed})
	return result, result.Err
}

// deregister deregisters an instance as the agent of the caller's node does it for the services that it was told of.
func (f *face) deregister(q *request, key domain.Key, reason string) (commands.Result, error) {
	end, err := f.deregistration(q, key, reason)
	if err != nil {
		return commands.Result{}, err
	}
	result := f.Commands.Do(q.Request().Context(), end.Caller, end.Request)
	return result, result.Err
}

// deregistration is the command of deregister. From the machine that registered the instance, it is the instance's own, which no policy
// refuses (ADR 110).
func (f *face) deregistration(q *request, key domain.Key, reason string) (end commands.Part, err error) {
	end.Caller = q.caller()
	if i, live := f.live(key); live {
		o, born := originOf(i.Origin)
		end.Itself = born && o.Node == nodeOf(q).name
	}
	end.Command, err = q.who.Command(domain.DeregisterInstance{Key: key, Reason: reason})
	return end, err
}

// details are what a registration says, in the domain's words. What the domain has no words for goes into the origin,
// which the caller encodes.
func (f *face) details(n node, body serviceRegistration, o *origin) (d domain.Details, err error) {
	if strings.EqualFold(body.Name, nodeService) { // names are looked up without regard to case
		return d, failure{http.StatusBadRequest, "Invalid service name: " + nodeService + " is the name under which Rollcall keeps nodes"}
	}
	o.Node, o.NodeAddress = n.name, n.address
	o.Kind, o.SocketPath, o.EnableTagOverride, o.Proxy, o.Connect = body.Kind, body.SocketPath, body.EnableTagOverride, null(body.Proxy), null(body.Connect)
	d = domain.Details{Address: body.Address, Weight: domain.DefaultWeight, TTL: domain.NoTTL, Status: domain.Passing}
	if address, err := netip.ParseAddr(strings.Trim(body.Address, "[]")); err == nil && address.IsUnspecified() {
		return d, failure{http.StatusBadRequest, "Invalid service address"}
	}
	switch normal := (domain.Details{Address: body.Address}).Normalize().Address; {
	case body.Address == "":
		d.Address, o.Address = n.address, new(string)
	case normal != body.Address:
		o.Address = &body.Address
	}
	o.ID = body.ID // the domain's id can be another: escaped, or with the node's name
	if d.Ports, err = ports(body); err != nil {
		return d, err
	}
	if len(body.Ports) > 0 {
		o.Ports, _ = json.Marshal(body.Ports)
		o.Port = &body.Port
	} else if body.Port == 0 {
		o.Port = new(int)
	}
	for _, tag := range body.Tags {
		if tag != "" && !slices.Contains(d.Tags, tag) {
			d.Tags = append(d.Tags, tag)
		}
	}
	if len(d.Tags) != len(body.Tags) {
		o.Tags = body.Tags
	}
	if o.Imported == nil { // the other registry's rules are its own: another Rollcall takes every key
		if err := metadata(body.Meta); err != nil {
			return d, err
		}
	}
	d.Metadata = body.Meta
	if body.Locality != nil {
		d.Zone = body.Locality.Zone
		o.Locality, _ = json.Marshal(body.Locality)
	}
	if body.Weights != nil {
		if wrong := body.Weights.wrong(); wrong != "" {
			return d, failure{http.StatusBadRequest, "Invalid Weights: " + wrong}
		}
		o.Weights = body.Weights
		d.Weight = uint16(min(body.Weights.Passing*weightShare, 65535))
	}
	if err := cmp.Or(fitting(body.TaggedAddresses), fits[sentProxy](body.Proxy), fits[sentConnect](body.Connect)); err != nil {
		return d, err
	}
	o.TaggedAddresses = taggedAddresses(body.TaggedAddresses, body.Address, body.Port)
	return d, f.addChecks(&d, o, body)
}

// null is a value that a client sent, or nil for none.
func null(b json.RawMessage) json.RawMessage {
	if string(b) == "null" {
		return nil
	}
	return b
}

func validPort(port int) error {
	if port < 0 || port > 65535 {
		return invalid("port: " + strconv.Itoa(port) + " must be from 0 to 65535")
	}
	return nil
}

func invalid(why string) error { return failure{http.StatusBadRequest, "Invalid " + why} }

func ports(body serviceRegistration) (map[string]uint16, error) {
	all := map[string]uint16{}
	add := func(name string, port int) error {
		if port > 0 {
			all[name] = uint16(port)
		}
		return validPort(port)
	}
	if err := add("default", body.Port); err != nil {
		return nil, err
	}
	for _, p := range body.Ports {
		name := strings.ToLower(strings.ReplaceAll(p.Name, "_", "-"))
		if p.Default && body.Port == 0 {
			name = "default"
		}
		if err := add(name, p.Port); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// metadata holds a service's metadata to Consul's rules.
func metadata(meta map[string]string) error {
	if len(meta) > 64 {
		return failure{http.StatusBadRequest, "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs"}
	}
	for key, value := range meta {
		switch {
		case key == "":
			return failure{http.StatusBadRequest, `Invalid Service Meta: Couldn't load metadata pair ('` + key + `', '` + value + `'): Key cannot be blank`}
		case len(key) > 128:
			return failure{http.StatusBadRequest, "Invalid Service Meta: Key is too long (limit: 128 characters)"}
		case len(value) > 512:
			return failure{http.StatusBadRequest, "Invalid Service Meta: Value is too long (limit: 512 characters)"}
		case strings.ContainsFunc(key, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
		}):
			return failure{http.StatusBadRequest, "Invalid Service Meta: Key contains invalid characters"}
		}
	}
	return nil
}

func (f *face) deregisterService(q *request) error {
	err := f.again(q, func() error {
		found, live := f.find(q, nodeOf(q), q.id)
		if !live {
			return unknownService(q.id)
		}
		if _, err := f.deregister(q, found.key, "consul: deregistered by the client"); err != nil {
			return err
		}
		here, _ := f.named(q, nodeOf(q), q.id) // of an earlier release, where the registry ended while the id took another name
		for _, entry := range here {
			if _, err := f.deregister(q, entry.Key(), "consul: deregistered by the client"); err != nil && !isGone(err) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return done(q)
}

func (f *face) serviceMaintenance(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing service ID"}
	}
	traffic, err := q.enabled()
	if err != nil {
		return err
	}
	reason := clip(q.query.Get("reason"), domain.MaxReason)
	found, live := f.find(q, nodeOf(q), q.id)
	if !live {
		return unknownService(q.id)
	}
	i, live := f.live(found.key)
	if !live {
		return unknownService(q.id)
	}
	if withNode(&i) {
		if traffic == domain.Serving {
			return done(q) // the service itself is in no maintenance
		}
		// The decision about the service takes the place of the one about the node, so that it outlasts it.
		if _, err := f.do(q, domain.ChangeTraffic{Key: found.key, Traffic: domain.Draining, Reason: reason}); err != nil {
			return err
		}
	}
	if _, err := f.do(q, domain.ChangeTraffic{Key: found.key, Traffic: traffic, Reason: reason}); err != nil {
		return err
	}
	if traffic == domain.Serving {
		if err := f.followNode(q, found.key, nodeNameOf(&i)); err != nil {
			return err
		}
	}
	return done(q)
}

// enabled is the traffic that ?enable= of a maintenance asks for.
func (q *request) enabled() (domain.Traffic, error) {
	if !q.query.Has("enable") {
		return "", failure{http.StatusBadRequest, "Missing value for enable"}
	}
	enable, err := strconv.ParseBool(q.query.Get("enable"))
	if err != nil {
		return "", failure{http.StatusBadRequest, fmt.Sprintf("Invalid value for enable: %q", q.query.Get("enable"))}
	}
	if enable {
		return domain.Maintenance, nil
	}
	return domain.Serving, nil
}

// removeAfter is the time after which an instance is removed whose check is critical. Consul takes no less than a minute.
func (f *face) removeAfter(d duration) domain.Duration {
	if d <= 0 {
		return domain.Duration(f.DeregisterAfter)
	}
	return domain.Duration(min(max(time.Duration(d), time.Minute), domain.MaxRemoveAfter))
}
