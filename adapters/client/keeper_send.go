package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// send carries out a round.
func (k *keeper) send(ctx context.Context, r round) {
	k.mu.Lock()
	for _, one := range r.unsent {
		one.finish(Ended, nil)
	}
	k.mu.Unlock()
	slices.SortStableFunc(r.beats, func(a, b *Kept) int {
		return cmp.Or(cmp.Compare(b.class, a.class), cmp.Compare(a.Owner, b.Owner))
	})
	slices.SortStableFunc(r.commands, func(a, b pending) int { return cmp.Compare(b.kept.class, a.kept.class) })
	for rest := r.beats; len(rest) > 0; {
		n := 1
		for n < len(rest) && n < maxHeartbeats && rest[n].Owner == rest[0].Owner && rest[n].class == rest[0].class {
			n++
		}
		if !k.sendHeartbeats(ctx, rest[:n]) {
			return
		}
		rest = rest[n:]
	}
	for _, one := range r.inspects {
		k.inspect(ctx, one)
	}
	for rest := r.commands; len(rest) > 0; {
		n, bytes := 1, rest[0].size()
		for n < len(rest) && n < maxCommands && bytes+rest[n].size() <= maxCommandBytes && rest[n].kept.class == rest[0].kept.class {
			bytes += rest[n].size()
			n++
		}
		if !k.sendCommands(ctx, rest[:n]) {
			return
		}
		rest = rest[n:]
	}
}

// attempt is how long one request about some instances may take: at most until the next one would be due. The others wait for it, so it
// takes no longer than the instance with the shortest ttl can wait, unless the registry is slow: then three times as long as the newest
// request took, and twice as long after each failure.
// REQUIRES: the caller holds mu.
func (k *keeper) attempt(all []*Kept) time.Duration {
	timeout := k.client.options.Timeout
	for _, one := range all {
		timeout = min(timeout, one.interval())
	}
	return min(timeout, max(k.shortest, 3*k.took)<<min(k.failures, 10))
}

// sendHeartbeats renews leases, all of one owner. It says whether the registry answered.
func (k *keeper) sendHeartbeats(ctx context.Context, all []*Kept) bool {
	body := make([]byte, 0, 64*len(all))
	for i, one := range all {
		separator := byte(',')
		if i == 0 {
			separator = '['
		}
		body = append(body, separator, '"')
		body = append(body, one.name...) // no name has a character to escape
		body = append(body, '"')
	}
	body = append(body, ']')
	k.mu.Lock()
	timeout := k.attempt(all)
	k.mu.Unlock()
	items, position, err := k.batch(ctx, request{
		path: "/v1/heartbeats", query: url.Values{"owner": {all[0].Owner}}, body: json.RawMessage(body), timeout: timeout,
		header: map[string]string{"Prefer": wire.ReturnMinimal},
	}, len(all))
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.tell(now, all, err) {
		return !isAway(err)
	}
	for i, one := range all {
		if one.state.Phase.final() {
			continue
		}
		if items[i].Problem == nil {
			one.heard(now, position, 0)
			continue
		}
		one.refused(now, heartbeat, items[i].Problem)
	}
	return true
}

// tell notes the failure of a whole request with all of its instances; false: there was no failure. REQUIRES: the caller
// holds mu.
func (k *keeper) tell(now time.Time, all []*Kept, err error) bool {
	k.dice = rand.Float64()
	if err == nil {
		k.away(now, nil)
		return false
	}
	if isAway(err) {
		k.away(now, err)
	}
	for _, one := range all {
		switch {
		case one.state.Phase.final():
		case isAway(err):
			one.failing(now, err)
		default:
			one.failed(now, err)
		}
	}
	return true
}

// batch sends a batch of n items, and reads what became of each. There are no items with an error.
func (k *keeper) batch(ctx context.Context, r request, n int) (items []wire.BatchItem, position wire.Position, err error) {
	r.method, r.repeatable = http.MethodPost, true
	began := time.Now()
	reply, err := ask[wire.BatchResult](ctx, k.client, r)
	if err != nil {
		return nil, position, err
	}
	k.mu.Lock()
	k.took = time.Since(began)
	k.mu.Unlock()
	items, ok := reply.Value.InOrder(n)
	if !ok {
		return nil, position, noBatch(k.client.URL())
	}
	return items, reply.Value.Position, nil
}

func noBatch(registry string) *NotRollcall {
	return &NotRollcall{URL: registry, Answer: "with something else than the results of a batch"}
}

// sendCommands sends commands, and says whether the registry answered.
func (k *keeper) sendCommands(ctx context.Context, commands []pending) bool {
	items, all := make([]commandItem, len(commands)), make([]*Kept, len(commands))
	for i, c := range commands {
		items[i], all[i] = c.item, c.kept
	}
	k.mu.Lock()
	timeout := k.attempt(all)
	k.mu.Unlock()
	results, _, err := k.batch(ctx, request{path: "/v1/commands", body: items, timeout: timeout}, len(commands))
	for i := range results {
		if results[i].Problem == nil && !acknowledges(&results[i].Result, all[i].Key) {
			err = noBatch(k.client.URL())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.tell(now, all, err) {
		return !isAway(err)
	}
	for i, c := range commands {
		item := results[i]
		switch {
		case c.kept.state.Phase.final():
		case item.Problem != nil:
			c.kept.refused(now, c.step, item.Problem)
		default:
			c.kept.carriedOut(now, c, item.Result)
		}
	}
	return true
}

// carriedOut notes that the registry carried out a command. REQUIRES: the caller holds the keeper's mu.
func (k *Kept) carriedOut(now time.Time, c pending, result wire.Result) {
	if c.step == deregister {
		k.finish(Ended, nil)
		return
	}
	k.heard(now, result.Position, result.Epoch)
	switch c.step {
	case register:
		k.details.have, k.takeOver, k.over = c.version, false, 0
		if c.item.Status == k.health.Status && k.health.Output == "" {
			k.reported.have = k.reported.want
		}
	case reportHealth:
		k.reported.have = c.version
	case changeTraffic:
		k.routed.have = c.version
	case drain:
		k.draining = now.Add(k.Drain)
	}
}

// refused notes that the registry refused a request about the instance. REQUIRES: the caller holds the keeper's mu.
func (k *Kept) refused(now time.Time, during step, p *wire.Problem) {
	none := p.Status == http.StatusNotFound || p.Status == http.StatusGone || p.Type == wire.StaleEpoch
	switch {
	case during == deregister && (none || p.Type == wire.OtherOwner):
		k.finish(Ended, nil) // it is gone already
	case during == drain && p.Status < http.StatusInternalServerError && !none && p.Type != wire.OtherOwner:
		k.draining = now.Add(k.Drain) // e.g. an operator has it in maintenance: it gets no traffic
	case none:
		k.lost(now, p)
	case p.Type == wire.AlreadyLive:
		k.probe = true // it may be the one that this process registered: the reply was lost
	case p.Type == wire.OtherOwner && k.ending:
		k.finish(Replaced, nil)
	case p.Type == wire.OtherOwner:
		k.conflict = true
	default:
		k.failed(now, p)
	}
}

// inspect finds out who the live instance is, of which the registry says that it is another owner's. A registry that was
// restored may have an earlier registration than the kept one, which then takes its place again. A later registration is
// a successor's: the kept instance leaves the key alone.
func (k *keeper) inspect(ctx context.Context, one *Kept) {
	k.mu.Lock()
	timeout, key := k.attempt([]*Kept{one}), one.Key
	k.mu.Unlock()
	r, err := k.client.instance(http.MethodGet, key, "")
	var live Reply[wire.Instance]
	if err == nil {
		r.timeout = timeout
		live, err = ask[wire.Instance](ctx, k.client, r)
	}
	if err == nil && live.Value.Key() != key {
		err = &NotRollcall{URL: k.client.URL(), Answer: "with something else than instance " + key.String()}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	var p *wire.Problem
	switch {
	case one.state.Phase.final():
	case err == nil && live.Value.Owner == one.Owner:
		one.conflict = false
		one.probe = true
	case err == nil && live.Value.Epoch < one.state.Epoch:
		one.lost(now, &Restored{one.Key})
		one.over = live.Value.Epoch
	case err == nil:
		one.finish(Replaced, domain.OtherOwner{Key: one.Key, Owner: one.Owner, Live: live.Value.Owner})
	case errors.As(err, &p) && (p.Status == http.StatusNotFound || p.Status == http.StatusGone):
		one.lost(now, p)
	case errors.As(err, &p) && p.Status == http.StatusForbidden:
		one.finish(Replaced, domain.OtherOwner{Key: one.Key, Owner: one.Owner}) // it may not be asked for
	default:
		k.tell(now, []*Kept{one}, err)
	}
}

// Restored says that the registry has an earlier registration of an instance than the one that it confirmed: it was
// restored from a backup.
type Restored struct{ Key domain.Key }

func (e *Restored) Error() string {
	return "the registry has an earlier registration of instance " + e.Key.String() + " than the one that it confirmed: it was restored"
}
