package consul

import (
	"encoding/json"
	"net/netip"
	"strings"
)

// What a client sends of the mesh and of a check that is judged elsewhere comes back to other clients as it was sent. It must have the
// types that Consul gives it: clients decode the list of a service as a whole, so that a text in the place of a number would keep
// every instance from them.

type sentProxy struct {
	DestinationServiceName, DestinationServiceID, LocalServiceAddress, LocalServiceSocketPath, Mode string

	LocalServicePort int
	TransparentProxy *struct {
		OutboundListenerPort int
		DialedDirectly       bool
	}
	Config    map[string]any
	Upstreams []struct {
		DestinationType, DestinationPartition, DestinationNamespace, DestinationPeer, DestinationName, DestinationPort string
		Datacenter, LocalBindAddress, LocalBindSocketPath, LocalBindSocketMode                                         string

		LocalBindPort       int
		Config              map[string]any
		MeshGateway         struct{ Mode string }
		CentrallyConfigured bool
	}
	MeshGateway struct{ Mode string }
	Expose      struct {
		Checks bool
		Paths  []struct {
			ListenerPort, LocalPathPort int
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
	return nil
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
