package probes

import (
	"context"
	"iter"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// Checks tells of the checks that are to be probed, as queries.Service does.
type Checks interface {
	ProbedChecks(ctx context.Context) iter.Seq[queries.ProbedUpdate]
}

// Follow keeps the prober's instances as the catalog has them, until the context ends.
func (p *Prober) Follow(ctx context.Context, checks Checks) error {
	for update := range checks.ProbedChecks(ctx) {
		if update.Reset {
			p.keep(update.Instances)
		}
		for _, i := range update.Instances {
			p.Set(InstanceOf(i), !update.Reset)
		}
	}
	return nil
}

// keep removes all instances but these.
func (p *Prober) keep(instances []queries.ProbedInstance) {
	kept := make(map[domain.Key]bool, len(instances))
	for _, i := range instances {
		kept[i.Key] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.instances.all {
		if !kept[i.key()] {
			p.remove(i)
		}
	}
}
