package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// compareEvery is about how often the agent compares an instance in the registry with its definition, and compareWithin is how long the
// registry may take to tell of it.
const (
	compareEvery  = 30 * time.Second
	compareWithin = 5 * time.Second
)

// rivals finds other agents, or processes, that register an instance of this agent under the same owner. The registry takes a
// registration by the same owner for an update, so that each overwrites the other without a refusal. The agent asks for one of its
// instances after the other, in random order, and compares it with its definition. A difference counts when two looks in a row saw it,
// since an update may be under way. It is logged once, and so is its end.
type rivals struct {
	agent *Agent
	turn  []domain.Key       // the instances that are compared next, the first one first
	times map[domain.Key]int // how often in a row a difference was seen; none is 0
}

// run compares until the context ends.
func (r *rivals) run(ctx context.Context) {
	for {
		sleep(ctx, compareEvery/2+rand.N(compareEvery)) // random, so that agents that started together do not ask together
		if ctx.Err() != nil {
			return
		}
		if d, ok := r.next(); ok {
			r.compare(ctx, d)
		}
	}
}

// next is the definition that is compared next.
func (r *rivals) next() (Definition, bool) {
	r.agent.mu.Lock()
	defined := r.agent.defined
	r.agent.mu.Unlock()
	if len(r.turn) == 0 {
		for key := range defined {
			r.turn = append(r.turn, key)
		}
		rand.Shuffle(len(r.turn), func(i, j int) { r.turn[i], r.turn[j] = r.turn[j], r.turn[i] })
	}
	for len(r.turn) > 0 {
		key := r.turn[0]
		r.turn = r.turn[1:]
		if d, ok := defined[key]; ok {
			return d, true
		}
		delete(r.times, key)
	}
	return Definition{}, false
}

// compare looks whether the registry has an instance as it is defined.
func (r *rivals) compare(ctx context.Context, d Definition) {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	live, err := r.agent.options.Client.Instance(ctx, d.Key, client.Moment(""))
	if err != nil || live.Value.Owner != r.agent.options.Owner {
		return // its Kept says what there is to say
	}
	logger := r.agent.options.Logger.With("instance", d.Key.String())
	field, found := difference(&live.Value, &d)
	switch {
	case field == "":
		if r.times[d.Key] > 1 {
			logger.Info("the registry has an instance as it is defined again")
		}
		delete(r.times, d.Key)
		return
	case r.times[d.Key] == 1:
		logger.Warn("the registry has an instance otherwise than it is defined: another agent or process registers it under the same owner",
			"owner", live.Value.Owner, "field", field, "cause", found)
	}
	r.times[d.Key] = min(r.times[d.Key]+1, 2)
	if r.times[d.Key] == 1 {
		r.turn = append([]domain.Key{d.Key}, r.turn...)
	}
}

// difference is the first field in which an instance differs from its definition, and how; "": none. Checks and a status that others
// added are no difference.
func difference(live *wire.Instance, d *Definition) (field, how string) {
	has, wanted := live.Details.Normalize(), d.Details.Normalize()
	for _, f := range []struct {
		name        string
		has, wanted any
	}{
		{"address", has.Address, wanted.Address}, {"ports", has.Ports, wanted.Ports}, {"tags", has.Tags, wanted.Tags},
		{"metadata", has.Metadata, wanted.Metadata}, {"zone", has.Zone, wanted.Zone}, {"version", has.Version, wanted.Version},
		{"weight", has.Weight, wanted.Weight}, {"ttl", time.Duration(has.TTL), time.Duration(wanted.TTL)},
	} {
		if !reflect.DeepEqual(f.has, f.wanted) && fmt.Sprint(f.has) != fmt.Sprint(f.wanted) { // an empty map is as good as none
			return f.name, fmt.Sprintf("it has %v, and is defined with %v", f.has, f.wanted)
		}
	}
	there := map[string]domain.Check{}
	for _, c := range live.Checks {
		there[c.ID] = c.Check.Normalize()
	}
	for _, c := range wanted.Checks {
		has, ok := there[c.ID]
		switch {
		case !ok:
			return "checks", "it has no check " + c.ID + ", which is defined"
		case has.Kind != c.Kind || has.TTL != c.TTL || has.Name != c.Name || strings.TrimSpace(has.Notes) != strings.TrimSpace(c.Notes):
			return "checks", fmt.Sprintf("its check %s is another one: %s", c.ID, has.Notes)
		}
	}
	return "", ""
}
