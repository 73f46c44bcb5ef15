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

// by is the policy that keeps an instance as one of its service's last, where its lease would remove it; "": none does.
func (k keeper) by(l leases.Lease, entry *catalog.Entry) string {
	if k.service == nil || l.Check != "" || entry.Brief().Details.OnLapse == domain.LapseCritical {
		return ""
	}
	return k.last(l.Key.ServiceKey())
}

// keeps says whether a policy keeps an instance that has been silent for so long that it is to be removed. What a probe saw is no
// silence.
func (k keeper) keeps(r leases.Removal, entry *catalog.Entry) bool {
	if k.service == nil {
		return false
	}
	if check := entry.Check(r.Check); r.Check != "" && (check == nil || check.Kind.Probed()) {
		return false
	}
	return k.last(r.Key.ServiceKey()) != ""
}

// last is the policy by which a service may lose no other instance; "": it may, and the look counts one more that is gone.
func (k keeper) last(service domain.ServiceKey) string {
	for _, p := range k.service.Guard.Policies.For(service) {
		if p.KeepLast > 0 && len(k.service.catalog().View(service).Entries)-k.gone[service] <= p.KeepLast {
			return p.Name
		}
	}
	k.gone[service]++
	return ""
}
