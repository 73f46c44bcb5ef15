package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// story makes things happen to the fleet, and tells each with the moment at which it happened: what the registry recorded
// by the time of its event, what the registry cannot see by the clock.
type story struct {
	remote *client.Client
	fleet  *fleet
	out    io.Writer
	from   time.Time // when the story began

	deploy   [2]time.Time // when its first and its last event were recorded
	crashed  *member
	mistaken wire.HistoryEntry
}

const (
	newVersion  = "1.5.0"
	deployWords = "deploy of " + newVersion
	lostZone    = "eu-1b"
)

func (s *story) tell(ctx context.Context) error {
	if err := s.fleet.register(ctx); err != nil {
		return err
	}
	s.say(time.Now(), "%d instances of %d services are registered, in the zones %s.", len(s.fleet.members), len(fleetSizes), strings.Join(fleetZones, " and "))
	for _, part := range []func(context.Context) error{s.aDeploy, s.aCrash, s.aPartition, s.aMistake} {
		if !pause(ctx, s.fleet.ttl/4) {
			return ctx.Err()
		}
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) say(at time.Time, words string, args ...any) {
	fmt.Fprintf(s.out, "%s  %s\n", stamp(at), fmt.Sprintf(words, args...))
}

// aDeploy replaces the instances of checkout one by one.
func (s *story) aDeploy(ctx context.Context) error {
	for i, m := range s.fleet.of("checkout") {
		if _, err := s.remote.ChangeTraffic(ctx, m.key, domain.Draining, deployWords); err != nil {
			return err
		}
		if i == 0 {
			first, err := s.recorded(ctx, client.HistoryQuery{Instance: m.key, Types: []string{domain.TypeTrafficChanged}})
			if err != nil {
				return err
			}
			s.deploy[0] = first.RecordedAt
			s.say(first.RecordedAt, "A deploy of checkout %s begins: %s drains.", newVersion, m.key.ID)
		}
		if !pause(ctx, s.fleet.ttl/8) {
			return ctx.Err()
		}
		if _, err := s.remote.Deregister(ctx, m.key, deployWords); err != nil {
			return err
		}
		details := m.details
		details.Address, details.Version = "10.0.9."+m.details.Address[strings.LastIndexByte(m.details.Address, '.')+1:], newVersion
		if _, err := s.remote.Register(ctx, m.key, details); err != nil {
			return err
		}
	}
	last, err := s.recorded(ctx, client.HistoryQuery{Service: s.fleet.of("checkout")[0].key.ServiceKey(), Types: []string{domain.TypeInstanceRegistered}})
	if err != nil {
		return err
	}
	s.deploy[1] = last.RecordedAt
	s.say(last.RecordedAt, "The deploy ends: %s is registered with %s.", last.ID, newVersion)
	return nil
}

// aCrash ends a process that cannot say so any more.
func (s *story) aCrash(ctx context.Context) error {
	s.crashed = s.fleet.of("payments")[1]
	s.fleet.kill(s.crashed)
	s.say(time.Now(), "%s crashes. It sends no more heartbeats, and nobody tells the registry.", s.crashed.key.ID)
	gone, err := s.recorded(ctx, client.HistoryQuery{Instance: s.crashed.key, Types: []string{domain.TypeLeaseExpired}})
	if err != nil {
		return err
	}
	s.say(gone.RecordedAt, "The registry takes it out: %s.", gone.Summary)
	return nil
}

// aPartition cuts a zone off until the registry holds expiry, and mends the network.
func (s *story) aPartition(ctx context.Context) error {
	cut := s.fleet.inZone(lostZone)
	s.fleet.cut(lostZone)
	s.say(time.Now(), "A partition: the heartbeats of the %d instances in zone %s do not arrive any more.", cut, lostZone)
	held, err := s.recorded(ctx, client.HistoryQuery{Types: []string{domain.TypeSelfPreservationStarted}})
	if err != nil {
		return err
	}
	s.say(held.RecordedAt, "The registry doubts its network, not %d instances: %s.", cut, held.Summary)
	if !pause(ctx, s.fleet.ttl) {
		return ctx.Err()
	}
	s.fleet.cut("")
	s.say(time.Now(), "The network is whole again.")
	if !pause(ctx, s.fleet.ttl/2) {
		return ctx.Err()
	}
	asked := time.Now()
	left := 0
	all, err := s.remote.Catalog(ctx, domain.DefaultNamespace, "")
	if err != nil {
		return err
	}
	for _, service := range all.Value.Services {
		for _, i := range service.Instances {
			if i.Zone == lostZone {
				left++
			}
		}
	}
	s.say(asked, "Of the %d instances in zone %s, %d are registered.", cut, lostZone, left)
	return nil
}

// aMistake deregisters an instance that runs.
func (s *story) aMistake(ctx context.Context) (err error) {
	m := s.fleet.of("cart")[0]
	if _, err := s.remote.Deregister(ctx, m.key, "clean-up: this is the old cart"); err != nil {
		return err
	}
	if s.mistaken, err = s.recorded(ctx, client.HistoryQuery{Instance: m.key, Types: []string{domain.TypeInstanceDeregistered}}); err != nil {
		return err
	}
	s.say(s.mistaken.RecordedAt, "Somebody deregisters %s, and means another instance. %s runs, and gets no more calls.", m.key.ID, m.key.ID)
	return nil
}

// eventTimeout bounds how long the story waits for an event, in ttls.
const eventTimeout = 30

// recorded waits for the newest event that a query picks, of those since the story began.
func (s *story) recorded(ctx context.Context, q client.HistoryQuery) (wire.HistoryEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout*s.fleet.ttl)
	defer cancel()
	q.Limit, q.From = 1, client.At(s.from)
	for {
		page, err := s.remote.History(ctx, q)
		if err != nil {
			return wire.HistoryEntry{}, err
		}
		if len(page.Value.Entries) > 0 {
			return page.Value.Entries[0], nil
		}
		if !pause(ctx, s.fleet.ttl/20) {
			return wire.HistoryEntry{}, fmt.Errorf("no %s is recorded: %w", strings.Join(q.Types, ", "), ctx.Err())
		}
	}
}

// hints prints the commands that find the causes, and the one that takes the mistake back.
func (s *story) hints(url, program string) {
	const tick = time.Millisecond // in which a printed time is exact
	at := ""
	if url != defaultURL {
		at = " --url " + url
	}
	fmt.Fprintf(s.out, "\nFind the causes, in another terminal:\n\n")
	for _, hint := range []struct{ question, command string }{
		{"what did the deploy change?", fmt.Sprintf("diff --from '%s' --to '%s'", stamp(s.deploy[0].Add(-tick)), stamp(s.deploy[1].Add(tick)))},
		{"why is " + s.crashed.key.ID + " gone?", "why " + s.crashed.key.Service + "/" + s.crashed.key.ID},
		{"why did nobody vanish in the partition?", "history --type " + domain.TypeSelfPreservationStarted + "," + domain.TypeSelfPreservationEnded},
		{"who took " + s.mistaken.ID + " away?", "why " + s.mistaken.Service + "/" + s.mistaken.ID},
		{"what was it?", fmt.Sprintf("get instance %s/%s --at '%s' -o yaml", s.mistaken.Service, s.mistaken.ID, stamp(s.mistaken.RecordedAt.Add(-tick)))},
		{"take the mistake back", fmt.Sprintf("revert --event %s --reason 'it was the wrong cart'", s.mistaken.Position)},
	} {
		fmt.Fprintf(s.out, "  # %s\n  %s %s%s\n\n", hint.question, program, hint.command, at)
	}
	fmt.Fprintf(s.out, "More: %s watch%s shows the catalog as it changes, curl %s/metrics the metrics.\n", program, at, url)
}
