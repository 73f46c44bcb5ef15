package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func replayCommand(remote *client) *cobra.Command {
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
		factor, err := strconv.ParseFloat(strings.TrimSuffix(speed, "x"), 64)
		if err != nil || factor < 0 || factor > 1e9 {
			return usageError{fmt.Errorf("speed must be like 60x, not %q", speed)}
		}
		player := &player{out: c.OutOrStdout(), speed: factor, live: map[string]bool{}, json: remote.output == "json"}
		if s.from != "" {
			var all struct{ Services []wire.ServiceInstances }
			if _, err := remote.fetch(c, "/v1/catalog", url.Values{"ns": {""}, "at": {s.from}}, &all); err != nil {
				return err
			}
			player.live = instanceKeys(all.Services)
		}
		err = remote.stream(c.Context(), "/v1/events", s.query(c, remote), func(line []byte) error { return player.play(c.Context(), line) })
		player.clear()
		return err
	}
	return c
}

// player shows events at their pace, and under them on a terminal the time and what is registered.
type player struct {
	out   io.Writer
	speed float64
	json  bool
	live  map[string]bool
	first time.Time // of the first event
	began time.Time // when it was shown
}

func (p *player) play(ctx context.Context, line []byte) error {
	e, err := eventstore.ParseJSON(line)
	if err != nil {
		return err
	}
	if p.first.IsZero() {
		p.first, p.began = e.RecordedAt, time.Now()
	}
	if err := p.wait(ctx, e.RecordedAt); err != nil {
		return nil // interrupted: the end
	}
	p.clear()
	if p.json {
		_, err = fmt.Fprintf(p.out, "%s\n", line)
	} else {
		_, err = fmt.Fprintln(p.out, eventLine(&e))
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
		fmt.Fprintf(p.out, "\r\x1b[K\x1b[7m %s  %gx  %d instances \x1b[0m", at.UTC().Format("2006-01-02 15:04:05"), p.speed, len(p.live))
	}
}

func (p *player) clear() {
	if isTerminal(p.out) {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
