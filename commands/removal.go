package commands

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// removeCritical removes the instances of which something stayed critical for too long. In a namespace in which expiry is
// held, no instance is removed, and a policy may keep a service's last instances.
func (x *Expiry) removeCritical(ctx context.Context, standings *leases.Standings, mark leases.Mark, now time.Time) error {
	var requests []eventstore.AppendRequest
	var commands []domain.Command
	kept := x.Service.keeper()
	for _, r := range x.Projections.Removals().Due(now, maxExpire) {
		if standing := standings.Of(r.Key.Namespace); standing.On && (x.Preserve || standing.Forced) {
			continue
		}
		entry := x.Service.catalog().Find(r.Key)
		if entry == nil || entry.Epoch() != r.Epoch {
			continue
		}
		if kept.keeps(r, entry) {
			x.Projections.Removals().Hold(r, now)
			continue
		}
		command := domain.RemoveCritical{Key: r.Key, Epoch: r.Epoch, Check: r.Check, Since: r.Since, Late: r.Late}
		request, ok, err := decided(entry, command)
		if err != nil {
			return err
		}
		if ok {
			requests, commands = append(requests, request), append(commands, command)
		}
	}
	if still, able := x.Listening.Sample(x.Now(), x.state()); len(requests) == 0 || !able || still != mark {
		return nil
	}
	results, err := x.store().Append(ctx, nil, requests...)
	if err != nil {
		return err
	}
	var newest eventstore.Position
	for i := range results {
		x.Service.observe(Outcome{Command: commands[i], Err: results[i].Err, Times: 1})
		if results[i].Err == nil {
			newest = max(newest, results[i].Position)
		}
	}
	if newest == 0 {
		return nil
	}
	return x.Projections.WaitFor(ctx, newest)
}
