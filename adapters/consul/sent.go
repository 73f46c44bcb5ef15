package consul

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
)

// What a client sends of the mesh and of a check that is judged elsewhere comes back to other clients as it was sent. It must have the
// types that Consul gives it, and to be nested no deeper than any client reads: clients decode the list of a service as a whole, so that
// a text in the place of a number would keep every instance from them.

// maxDepth is how deep what was sent is nested at most. Clients of Java and Python give up at 1,000.
const maxDepth = 100

type sentProxy struct {
	DestinationServiceName, DestinationServiceID, LocalServiceAddress, LocalServiceSocketPath, Mode string

	LocalServicePort int32
	TransparentProxy *struct {
		OutboundListenerPort int32
		DialedDirectly       bool
	}
	Config    map[string]any
	Upstreams []struct {
		DestinationType, DestinationPartition, DestinationNamespace, DestinationPeer, DestinationName, DestinationPort string
		Datacenter, LocalBindAddress, LocalBindSocketPath, LocalBindSocketMode                                         string

		LocalBindPort       int32
		Config              map[string]any
		MeshGateway         struct{ Mode string }
		CentrallyConfigured bool
	}
	MeshGateway struct{ Mode string }
	Expose      struct {
		Checks bool
		Paths  []struct {
			ListenerPort, LocalPathPort int32
			Path, Protocol              string
			ParsedFromCheck             bool
		}
	}
	AccessLogs *struct {
		Enabled, DisableListenerLogs       bool
		Type, Path, JSONFormat, TextFormat string
	}
	EnvoyExtensions []struct {
		Name, ConsulVersion, EnvoyVersion string

		Required  bool
		Arguments map[string]any
	}
}

type sentConnect struct {
	Native         bool
	SidecarService *struct {
		serviceRegistration
		Proxy *sentProxy
	}
}

type sentDefinition struct {
	HTTP, Method, Body, TLSServerName, TCP, UDP, GRPC, OSService string

	Header                                                                         map[string][]string
	TLSSkipVerify, TCPUseTLS, GRPCUseTLS                                           bool
	Interval, Timeout, DeregisterCriticalServiceAfter                              duration
	IntervalDuration, TimeoutDuration, DeregisterCriticalServiceAfterDuration, TTL duration
}

// fits refuses what was sent if it does not have the types of T.
func fits[T any](sent json.RawMessage) error {
	if null(sent) == nil {
		return nil
	}
	if err := json.Unmarshal(sent, new(T)); err != nil {
		return undecodable(err)
	}
	if depth(sent) > maxDepth {
		return undecodable(errors.New("json: exceeded max depth"))
	}
	return nil
}

// depth is how deep the arrays and objects of a valid JSON text are nested.
func depth(text []byte) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // what is escaped ends no string
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}

// fitting refuses addresses under tags that clients could not decode, and those under the tags that Consul fills in if they are of
// another family.
func fitting(addresses map[string]serviceAddress) error {
	for tag, a := range addresses {
		if err := validPort(a.Port); err != nil {
			return err
		}
		kind, family, ok := strings.Cut(tag, "_")
		if a.Address == "" || !ok || kind != "lan" && kind != "wan" || family != "ipv4" && family != "ipv6" {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err != nil || ip.Is4() != (family == "ipv4") {
			return invalid("TaggedAddresses: " + tag + " must be an address of its family")
		}
	}
	return nil
}
