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
// spent on it. While one question makes it, the others use the one before, unless that is too old or was made with other rights.
type list struct {
	newest atomic.Pointer[listed]
	making sync.Mutex
}

type listed struct {
	rights   uint64                  // with which the list was made
	next     time.Time               // when the list may be made again
	outdated time.Time               // from when on no question uses the list
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

// current is the list for a question that has a turn.
func (l *list) current(s *Server) *listed {
	if l.making.TryLock() {
		defer l.making.Unlock()
		return l.made(s)
	}
	if known := l.newest.Load(); known != nil && known.rights == s.registry.Rights() && s.options.Now().Before(known.outdated) {
		return known
	}
	s.turns.give() // whoever waits for the list holds nobody up that does not need it
	defer s.turns.take(false)
	l.making.Lock()
	defer l.making.Unlock()
	return l.made(s)
}

// made is the newest list, which is made anew where that is due. REQUIRES: the caller holds making.
func (l *list) made(s *Server) *listed {
	now, rights := s.options.Now(), s.registry.Rights() // before the look: a change during it is noticed
	if known := l.newest.Load(); known != nil && known.rights == rights && now.Before(known.next) {
		return known
	}
	made := s.look()
	made.rights = rights
	end := s.options.Now()
	made.next = end.Add(listCost * end.Sub(now))
	made.outdated = end.Add(2 * listCost * end.Sub(now))
	l.newest.Store(made)
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
