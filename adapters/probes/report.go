package probes

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// report queues a change of a check. REQUIRES: p is locked.
func (p *Prober) report(c *check, to level, words string, took time.Duration) {
	if c.reporting {
		return
	}
	c.reporting = true
	p.reports = append(p.reports, pending{
		check: c, at: p.opts.Now(),
		Report: Report{
			Key: c.of.key(), Epoch: c.of.epoch, Check: c.id(), Revision: c.revision, Address: c.of.address, Port: c.port, Status: statuses[to], Output: words, Took: took, Looks: int(c.results),
		},
	})
	select {
	case p.wake <- struct{}{}:
	default: // the channel holds a token
	}
}

// runReports sends what is queued, many reports at once. A report that is not taken is dropped: if it is still so at the
// next look, that look reports it.
func (p *Prober) runReports(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		for ctx.Err() == nil {
			some := p.takeReports()
			if len(some) == 0 {
				break
			}
			p.send(ctx, some)
		}
	}
}

// takeReports takes the reports that are still true: of checks that are this node's. Each is of another instance, for the
// commands of one batch must be.
func (p *Prober) takeReports() (some []pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := min(max(len(p.reports)/reportPart, reportFew), reportMany)
	seen := make(map[domain.Key]bool, min(len(p.reports), most))
	now := p.opts.Now()
	kept := p.reports[:0]
	for at, r := range p.reports {
		if len(some) == most {
			kept = append(kept, p.reports[at:]...)
			break
		}
		switch {
		case r.check.gone || r.check.place < 0 || now.Sub(r.at) > freshFor || !p.opts.Mine(r.Key):
			r.check.reporting = false
		case seen[r.Key]:
			kept = append(kept, r)
		default:
			seen[r.Key] = true
			some = append(some, r)
		}
	}
	clear(p.reports[len(kept):])
	p.reports = kept
	if len(kept) == 0 && cap(kept) > 4*reportFew {
		p.reports = nil
	}
	return some
}

func (p *Prober) send(ctx context.Context, some []pending) {
	reports := make([]Report, len(some))
	for i, r := range some {
		reports[i] = r.Report
	}
	errs := p.opts.Report(ctx, reports)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range some {
		r.check.reporting = false
		if errs[i] == nil {
			r.check.status = levelOf(r.Status) // the catalog says so, too, but maybe later
			continue
		}
		p.opts.Logger.Debug("a change of a check was not taken", "instance", r.Key, "check", r.Check, "cause", errs[i])
	}
}
