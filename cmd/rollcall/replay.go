package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

func replayCommand(remote *commandLine) *cobra.Command {
	var s eventSelection
	var speed string
	c := &cobra.Command{
		Use:     "replay [--from MOMENT] [--to MOMENT] [--speed 60x]",
		Short:   "Play the past again, event by event, at its own pace or faster",
		Example: "  rollcall replay --from 2026-03-01T03:00:00Z --to 2026-03-01T03:15:00Z --speed 60x",
		Args:    cobra.NoArgs,
	}
	s.flags(c, true)
	c.Flags().StringVar(&speed, "speed", "1x", "how many times as fast as it happened; 0 does not wait at all")
	c.RunE = func(c *cobra.Command, _ []string) error {
		factor, err := queries.ParseDecimal(strings.TrimSuffix(speed, "x"))
		if err != nil || factor > 1e9 {
			return usageError{fmt.Errorf("speed must be like 60x, not %q", speed)}
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		player := &player{out: c.OutOrStdout(), speed: factor, live: map[string]bool{}, remote: remote}
		if s.from.moment != "" {
			all, err := registry.Catalog(c.Context(), s.query(c, remote).Namespace, s.from.moment)
			if err != nil {
				return err
			}
			player.live = instanceKeys(all.Value.Services)
		}
		if !remote.forPrograms() {
			title(remote.page(c.OutOrStdout()), "events of %s", scopeText(s.query(c, remote).Namespace))
		}
		defer player.clear()
		return player.playAll(c.Context(), registry, s.query(c, remote))
	}
	return c
}

// slowReader is for how long a registry surely keeps a transfer open that is not read on.
const slowReader = 20 * time.Second

// playAll plays what a query picks. A registry ends a transfer that is read too slowly, as one is that is
// played at its own pace: then what is missing is asked for.
func (p *player) playAll(ctx context.Context, registry *client.Client, query client.EventQuery) error {
	for {
		began := time.Now()
		err := p.playOnce(ctx, registry, query)
		if ctx.Err() != nil {
			return nil // interrupted: the end
		}
		var broken *client.Broken
		if !errors.As(err, &broken) || broken.After <= query.After.Number || time.Since(began) < slowReader {
			return err
		}
		query.After.Number = broken.After
	}
}

func (p *player) playOnce(ctx context.Context, registry *client.Client, query client.EventQuery) error {
	for e, err := range registry.Events(ctx, query) {
		if err != nil {
			return err
		}
		if err := p.play(ctx, &e); err != nil {
			return err
		}
	}
	return nil
}

// player shows events at their pace, and under them on a terminal the time and what is registered.
type player struct {
	out    io.Writer
	speed  float64
	remote *commandLine
	live   map[string]bool
	first  time.Time // of the first event
	began  time.Time // when it was shown
}

func (p *player) play(ctx context.Context, e *client.Event) (err error) {
	if p.first.IsZero() {
		p.first, p.began = e.RecordedAt, time.Now()
	}
	if err := p.wait(ctx, e.RecordedAt); err != nil {
		return err
	}
	p.clear()
	if p.remote.forPrograms() {
		err = p.remote.writeItem(p.out, e.Raw)
	} else {
		_, err = fmt.Fprintln(p.out, eventLine(&e.RecordedEvent))
	}
	if key, ok := e.Stream.InstanceKey(); ok {
		switch e.Type {
		case domain.TypeInstanceRegistered:
			p.live[key.String()] = true
		case domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
			delete(p.live, key.String())
		}
	}
	p.status(e.RecordedAt)
	return err
}

// wait waits for the moment at which an event is due, and lets the clock tick meanwhile.
func (p *player) wait(ctx context.Context, at time.Time) error {
	if p.speed == 0 {
		return ctx.Err()
	}
	due := p.began.Add(time.Duration(float64(at.Sub(p.first)) / p.speed))
	for {
		left := time.Until(due)
		if left <= 0 {
			return ctx.Err()
		}
		pause(ctx, min(left, 200*time.Millisecond))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.status(p.first.Add(time.Duration(float64(time.Since(p.began)) * p.speed)))
	}
}

func (p *player) status(at time.Time) {
	if isTerminal(p.out) {
		fmt.Fprintf(p.out, "\r\x1b[K\x1b[7m %s  %gx  %d instances \x1b[0m", at.UTC().Format("2006-01-02 15:04:05Z"), p.speed, len(p.live))
	}
}

func (p *player) clear() {
	if isTerminal(p.out) {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
