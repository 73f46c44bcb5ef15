package dns

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// list is what needs a look at all instances. It is made anew when it is asked for, but no more than a small part of the time is
// spent on it. While one question makes it, the others use the one before.
type list struct {
	newest atomic.Pointer[listed]
	making sync.Mutex
	next   time.Time // when the list may be made again; guarded by making
}

type listed struct {
	pointers map[netip.Addr][]string // the names of what has an address, in the first zone: instances, and nodes that are kept
	nodes    map[namespacedName]*machine
	// Names that have others below them, such as micro.srv of the service go.micro.srv. A resolver that asks for each part of a name
	// must not be told that they do not exist.
	ofServices, ofNodes map[namespacedName]bool
}

type namespacedName struct{ namespace, name string }

// Limits of the list.
const (
	listCost    = 20 // the list is not made again before this many times as long as it took to make
	reverseMost = 20 // names of one address; many instances on one machine would make replies large
)

func (l *list) current(s *Server) *listed {
	if known := l.newest.Load(); known == nil {
		l.making.Lock()
	} else if !l.making.TryLock() {
		return known
	}
	defer l.making.Unlock()
	now := s.options.Now()
	if known := l.newest.Load(); known != nil && now.Before(l.next) {
		return known
	}
	made := s.look()
	l.newest.Store(made)
	end := s.options.Now()
	l.next = end.Add(listCost * end.Sub(now))
	return made
}

func (s *Server) look() *listed {
	l := &listed{pointers: map[netip.Addr][]string{}, nodes: map[namespacedName]*machine{}, ofServices: map[namespacedName]bool{}, ofNodes: map[namespacedName]bool{}}
	for i := range s.registry.All {
		n := wire.NodeOf(&i)
		at := namespacedName{i.Namespace, strings.ToLower(n.Name)}
		if before := l.nodes[at]; before == nil || before.changed.Before(i.ChangedAt) {
			l.nodes[at] = machineOf(&n, &i)
			above(l.ofNodes, at)
		}
		e := endpointOf(&i)
		name := nodeNameOf(e, i.Namespace, s.zones[0])
		if n.Is {
			name = below(at.name+".node", i.Namespace, s.zones[0])
		} else {
			l.addAbove(i.Namespace, e)
		}
		if e.address.IsValid() && isName(name) && len(l.pointers[e.address]) < reverseMost {
			l.pointers[e.address] = append(l.pointers[e.address], name)
		}
	}
	return l
}

// addAbove adds the names that an instance is below.
func (l *listed) addAbove(namespace string, e *endpoint) {
	if service := (namespacedName{namespace, e.service}); strings.Contains(e.service, ".") && !l.ofServices[parentOf(service)] {
		above(l.ofServices, service)
		above(l.ofNodes, service)
	}
	for _, tag := range e.tags {
		if _, rest, dotted := strings.Cut(tag, "."); dotted && isName(tag) && !strings.ContainsAny(tag, ` \"=/`) {
			for ; dotted; _, rest, dotted = strings.Cut(rest, ".") {
				l.ofServices[namespacedName{namespace, rest + "." + e.service}] = true
			}
		}
	}
}

// above adds the names that a name is below.
func above(all map[namespacedName]bool, n namespacedName) {
	for n = parentOf(n); n.name != "" && !all[n]; n = parentOf(n) {
		all[n] = true
	}
}

// parentOf is the name without its first label.
func parentOf(n namespacedName) namespacedName {
	_, rest, _ := strings.Cut(n.name, ".")
	return namespacedName{n.namespace, rest}
}
