package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func whyCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use:     "why SERVICE/ID",
		Short:   "Say in plain English why an instance is gone, or that it is there",
		Example: "  rollcall why checkout/a-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := remote.instance(args[0])
			if err != nil {
				return err
			}
			registry, err := remote.client()
			if err != nil {
				return err
			}
			page, err := registry.History(c.Context(), client.HistoryQuery{Instance: key, Limit: 20})
			if never := new(wire.Problem); errors.As(err, &never) && never.Type == wire.UnknownInstance {
				return notFound("instance " + key.String() + " was never registered")
			}
			if err != nil {
				return err
			}
			if len(page.Value.Entries) == 0 {
				return fmt.Errorf("the registry has nothing to tell of instance %s", key)
			}
			return remote.print(c, page.Raw, func(w io.Writer) error {
				if err := explain(w, page.Value, time.Now()); err != nil {
					return err
				}
				explainHeld(c.Context(), w, registry, key)
				deaf, err := interruptions(c.Context(), registry, &page.Value.Entries[0])
				if err != nil || len(deaf) == 0 {
					return err
				}
				fmt.Fprintln(w, "The registry itself, near then:")
				for _, e := range deaf {
					fmt.Fprintf(w, "  %s\n", oneLine(e.Summary))
				}
				return nil
			})
		},
	}
}

// explainHeld says that an instance is there only because expiry is held. An instance that is gone has nothing to be said of.
func explainHeld(ctx context.Context, w io.Writer, registry *client.Client, key domain.Key) {
	reply, err := registry.Instance(ctx, key, "")
	held := reply.Value.ExpiryHeld
	if err != nil || held == nil {
		return // the answer itself is there
	}
	fmt.Fprintf(w, "Note: expiry is held in namespace %s since %s, by %s%s.\n", key.Namespace, stamp(held.Since), dash(held.Actor), because(held.Reason))
	until := reply.Value.LeaseExpiresAt
	if now := time.Now(); until != nil && until.Before(now) {
		fmt.Fprintf(w, "Its lease is overdue since %s (%s ago): no heartbeat renewed it, and the instance stays because expiry is held.\n",
			stamp(*until), queries.Spaced(now.Sub(*until).Round(time.Second)))
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + oneLine(reason)
}

// toldOf is how many of the newest entries explain tells. More are looked at for what flaps.
const toldOf = 10

// explain tells the newest entries as a story, the answer first.
func explain(w io.Writer, page wire.HistoryPage, now time.Time) error {
	last, before := &page.Entries[0], page.Entries[1:min(len(page.Entries), toldOf)]
	if len(before) > 0 && last.Type == domain.TypeTrafficChanged && ends(before[0].Type) {
		fmt.Fprintf(w, "After it was gone, at %s: %s (by %s).\n", stamp(last.RecordedAt), oneLine(last.Summary), dash(last.Actor))
		last, before = &before[0], before[1:]
	}
	when := fmt.Sprintf("%s (%s ago)", stamp(last.RecordedAt), queries.Spaced(now.Sub(last.RecordedAt).Round(time.Second)))
	why, removed := strings.CutPrefix(oneLine(last.Summary), "removed: ") // after its remove_after
	switch last.Type {
	case domain.TypeInstanceDeregistered:
		if removed {
			fmt.Fprintf(w, "%s is gone: it was removed at %s.\n", instanceOf(last), when)
			fmt.Fprintf(w, "Who:  nobody; the registry took it out because a check stayed critical.\n")
			fmt.Fprintf(w, "Why:  %s\n", why)
			break
		}
		fmt.Fprintf(w, "%s is gone: it was deregistered at %s.\n", instanceOf(last), when)
		fmt.Fprintf(w, "Who:  %s, from %s, via %s (request %s)\n", dash(last.Actor), dash(last.Source), dash(last.Via), dash(last.RequestID))
		fmt.Fprintf(w, "Why:  %s\n", strings.TrimPrefix(strings.TrimPrefix(why, "deregistered"), ": ")+noReason(last.Summary))
	case domain.TypeLeaseExpired:
		ended := "its lease expired"
		if removed { // the lease had lapsed before
			ended = "it was removed"
		}
		fmt.Fprintf(w, "%s is gone: %s at %s.\n", instanceOf(last), ended, when)
		fmt.Fprintf(w, "Who:  nobody; the registry took it out because no heartbeat came.\n")
		fmt.Fprintf(w, "Why:  %s\n", why)
	default:
		fmt.Fprintf(w, "%s is registered. The last thing that happened to it, at %s: %s (by %s).\n", instanceOf(last), when, oneLine(last.Summary), dash(last.Actor))
	}
	for _, id := range flapping(page.Entries, now) {
		fmt.Fprintf(w, "Check %s is flapping: it changed at least %d times within %s.\n", id, domain.FlappingChanges, queries.Spaced(domain.FlappingWithin))
	}
	if n := len(page.Heartbeats); n > 0 {
		h := page.Heartbeats[n-1]
		fmt.Fprintf(w, "Last heartbeat at %s; %d in that hour, the longest gap %s.\n", stamp(h.Last), h.Received, queries.Spaced(time.Duration(h.LongestGap)))
	}
	if len(before) > 0 {
		fmt.Fprintln(w, "Before that:")
		for _, e := range before {
			fmt.Fprintf(w, "  %s  %s (by %s)\n", stamp(e.RecordedAt), oneLine(e.Summary), dash(e.Actor))
		}
	}
	return nil
}

// flapping are the checks that flap now, as their changes among the entries tell.
func flapping(entries []wire.HistoryEntry, now time.Time) (ids []string) {
	changed := map[string]int{}
	for _, e := range entries {
		if e.Type != domain.TypeCheckChanged || now.Sub(e.RecordedAt) > domain.FlappingWithin {
			continue
		}
		var data struct{ Check string }
		if json.Unmarshal(e.Data, &data) != nil {
			continue
		}
		if changed[data.Check]++; changed[data.Check] == domain.FlappingChanges {
			ids = append(ids, data.Check)
		}
	}
	return ids
}

// ends says whether an event of that type takes an instance out of the catalog.
func ends(eventType string) bool {
	return eventType == domain.TypeInstanceDeregistered || eventType == domain.TypeLeaseExpired
}

func noReason(summary string) string {
	if summary == "deregistered" {
		return "no reason was given"
	}
	return ""
}
