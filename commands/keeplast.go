package commands

import (
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// keeper says which instances policies keep when their leases lapse (keep_last), during one look of the expiry. The zero
// keeper keeps none.
type keeper struct {
	service *Service
	gone    map[domain.ServiceKey]int // instances that the look removes
}

// keeper is a keeper of the present policies.
func (s *Service) keeper() keeper {
	if s.Guard == nil || !s.Guard.Policies.Any() {
		return keeper{}
	}
	return keeper{s, map[domain.ServiceKey]int{}}
}

// by is the policy that keeps an instance as one of its service's last; "": none does.
func (k keeper) by(l leases.Lease, entry *catalog.Entry) string {
	if k.service == nil || l.Check != "" || entry.Brief().Details.OnLapse == domain.LapseCritical {
		return ""
	}
	service := l.Key.ServiceKey()
	for _, p := range k.service.Guard.Policies.For(service) {
		if p.KeepLast > 0 && len(k.service.catalog().View(service).Entries)-k.gone[service] <= p.KeepLast {
			return p.Name
		}
	}
	k.gone[service]++
	return ""
}
