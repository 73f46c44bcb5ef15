package dns

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// service is what answers need of a group of instances. It is made once for a group and the nodes that are kept.
type service struct {
	kept  *keptNodes
	ready []*endpoint          // may get traffic
	nodes map[string]*endpoint // all, by label
}

// endpoint is an instance.
type endpoint struct {
	label   string            // names the instance below its service
	service string            // in lower case
	address netip.Addr        // not valid: host is set
	bytes   []byte            // of the address, for records; nobody changes them
	targets map[string]string // the instance's name in SRV records, by zone
	host    string            // the host name that is the address, with a dot at its end
	ports   map[string]uint16
	port    uint16 // the default port; 0: none
	weight  uint16
	tags    []string // in lower case
	texts   []string // metadata as key=value
}

// serviceOf is what answers need of a group of the namespace.
func (s *Server) serviceOf(namespace string, group Group) *service {
	kept := s.keptNodes(namespace)
	newest := group.Value("dns", func() any { return new(atomic.Pointer[service]) }).(*atomic.Pointer[service])
	if made := newest.Load(); made != nil && made.kept == kept {
		return made
	}
	made := newService(group, kept, s.zones)
	newest.Store(made)
	return made
}

func newService(group Group, kept *keptNodes, zones []string) *service {
	s := &service{kept: kept, nodes: map[string]*endpoint{}}
	var idle []*endpoint // ready, with the weight 0
	for _, i := range group.Instances() {
		n := wire.NodeOf(&i)
		if n.Is {
			continue // a node is no instance of a service
		}
		e := endpointOf(&i)
		e.bytes = e.address.AsSlice()
		for _, zone := range zones {
			e.targets[zone] = e.target(i.Namespace, zone)
		}
		status := kept.worst(n.Name, i.Status)
		if status == domain.Warning && n.WarningWeight != nil {
			e.weight = uint16(*n.WarningWeight)
		}
		s.nodes[e.label] = e
		switch {
		case !e.address.IsValid() && !isName(e.host):
		case !i.Given() || status == domain.Critical && !i.Panic:
		case e.weight == 0:
			idle = append(idle, e)
		default:
			s.ready = append(s.ready, e)
		}
	}
	if len(s.ready) == 0 {
		s.ready = idle
	}
	return s
}

func endpointOf(i *wire.Instance) *endpoint {
	e := &endpoint{label: labelOf(i.ID), service: strings.ToLower(i.Service), weight: i.Weight, targets: map[string]string{}, ports: make(map[string]uint16, len(i.Ports))}
	if a, err := netip.ParseAddr(strings.Trim(i.Address, "[]")); err == nil {
		e.address = a.WithZone("").Unmap()
	} else {
		e.host = strings.ToLower(strings.TrimSuffix(i.Address, ".")) + "."
	}
	for name, port := range i.Ports {
		e.ports[strings.ToLower(name)] = port
	}
	e.port = i.DefaultPort()
	for _, tag := range i.Tags {
		e.tags = append(e.tags, strings.ToLower(tag))
	}
	e.texts = textsOf(i.Metadata)
	return e
}

// textsOf are the texts of TXT records with metadata (RFC 1464).
func textsOf(metadata map[string]string) (texts []string) {
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if text := escapeKey(key) + "=" + metadata[key]; len(text) <= maxText {
			texts = append(texts, text)
		}
	}
	return texts
}

// maxText is the most bytes that a text of a TXT record has. Longer metadata is left out.
const maxText = 255

// escapeKey puts a backquote before each backquote and equals sign of a key (RFC 1464).
func escapeKey(key string) string { return strings.NewReplacer("`", "``", "=", "`=").Replace(key) }

// labelOf is the label that names an instance: its id if that is a host name's label in lower case, or else a hash of it.
// No id gets the label of another one, for an id that looks like a hash is hashed, too.
func labelOf(id string) string {
	if isLabel(id) && !strings.HasPrefix(id, hashed) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hashed + hex.EncodeToString(sum[:12])
}

const hashed = "id--"

// isName says whether DNS can carry a name.
func isName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok
}

func isLabel(id string) bool {
	if len(id) > 63 || id[0] == '-' || id[len(id)-1] == '-' {
		return false
	}
	for _, b := range []byte(id) {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			return false
		}
	}
	return true
}

// withTag are the ready instances that have a tag; "": all.
func (s *service) withTag(tag string) []*endpoint {
	if tag == "" {
		return s.ready
	}
	var some []*endpoint
	for _, e := range s.ready {
		if slices.Contains(e.tags, tag) {
			some = append(some, e)
		}
	}
	return some
}

// withPort are the instances that have a port of that name; "": all.
func withPort(all []*endpoint, name string) []*endpoint {
	if name == "" {
		return all
	}
	var some []*endpoint
	for _, e := range all {
		if e.ports[name] > 0 {
			some = append(some, e)
		}
	}
	return some
}
