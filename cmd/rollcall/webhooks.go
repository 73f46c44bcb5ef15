package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func webhooksCommand(remote *commandLine) *cobra.Command {
	c := group("webhooks", "Manage webhooks: events that are posted to a URL")
	c.AddCommand(
		createWebhookCommand(remote), listWebhooksCommand(remote), webhookDeliveriesCommand(remote), webhookHistoryCommand(remote),
		webhookActionCommand(remote, (*client.Client).PauseWebhook, "pause", "Stop a webhook's deliveries; what is due waits", webhookReason),
		webhookActionCommand(remote, resumeWebhook, "resume", "Let a webhook's deliveries go on", webhookNothing),
		webhookActionCommand(remote, replayWebhook, "replay", "Deliver again what happened from a moment on", webhookFrom),
		deleteWebhookCommand(remote),
	)
	return c
}

func createWebhookCommand(remote *commandLine) *cobra.Command {
	var spec domain.WebhookSpec
	var secret string
	var from momentFlag
	c := &cobra.Command{
		Use:     "create URL",
		Short:   "Post events to a URL, from now on or --from a moment",
		Example: "  rollcall webhooks create https://example.com/hook --service checkout --type LeaseExpired,InstanceDeregistered",
		Args:    cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.StringVar(&spec.Service, "service", "", "only events of this service (in --ns)")
	f.StringSliceVar(&spec.Types, "type", nil, "only events of this type; may be given again")
	f.StringVar(&secret, "secret", "", "signing secret, whsec_…; a new one when left out")
	momentVar(f, &from, "from", "from this moment on: "+momentWords)
	c.RunE = func(c *cobra.Command, args []string) error {
		spec.URL = args[0]
		spec.Namespace = remote.scopeOf(c, spec.Types)
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := registry.CreateWebhook(c.Context(), client.NewWebhook{WebhookSpec: spec, Secret: secret, From: from.moment})
		if err != nil {
			return err
		}
		return remote.print(c, reply.Raw, func(out io.Writer) error {
			w := reply.Value
			fmt.Fprintf(out, "webhook %s posts events of %s to %s\n", w.ID, scopeText(w.Namespace), args[0])
			if w.Secret != "" {
				fmt.Fprintf(out, "its signing secret, which is not shown again: %s\n", w.Secret)
			}
			return nil
		})
	}
	return c
}

func listWebhooksCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List webhooks", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			list, err := registry.Webhooks(c.Context())
			if err != nil {
				return err
			}
			names := func() (ids []string) {
				for _, h := range list.Value.Webhooks {
					ids = append(ids, h.ID)
				}
				return ids
			}
			return remote.show(c, list.Raw, names, func(w io.Writer) error {
				return table(w, "ID\tURL\tNAMESPACE\tSERVICE\tTYPES\tSTATE", func(row func(...any)) {
					for _, h := range list.Value.Webhooks {
						state := "running"
						if h.Paused {
							state = strings.TrimSuffix("paused: "+h.Reason, ": ")
						}
						row(h.ID, h.URL, dash(h.Namespace), dash(h.Service), dash(strings.Join(h.Types, ",")), state)
					}
				})
			})
		},
	}
}

func webhookDeliveriesCommand(remote *commandLine) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "deliveries ID", Short: "Show a webhook's latest attempts to deliver", Args: cobra.ExactArgs(1)}
	c.Flags().IntVar(&limit, "limit", 20, "at most so many")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		log, err := registry.Deliveries(c.Context(), args[0], limit)
		if err != nil {
			return err
		}
		return remote.print(c, log.Raw, func(w io.Writer) error {
			return table(w, "TIME\tPOSITION\tTYPE\tATTEMPT\tSTATUS\tTOOK\tRESULT", func(row func(...any)) {
				for _, a := range log.Value.Attempts {
					result := "delivered"
					if !a.Delivered {
						result = oneLine(a.Error)
					}
					row(stamp(a.At), a.Position, a.Type, a.Attempt, a.Status, time.Duration(a.Took).Round(100*time.Microsecond), result)
				}
			})
		})
	}
	return c
}

func webhookHistoryCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "history ID", Short: "Tell who did what to a webhook", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			page, err := registry.History(c.Context(), client.HistoryQuery{Webhook: args[0]})
			if err != nil {
				return err
			}
			return remote.print(c, page.Raw, func(w io.Writer) error { return historyTable(w, page.Value) })
		},
	}
}

// webhookAction changes a webhook; value is the action's one setting.
type webhookAction func(registry *client.Client, ctx context.Context, id, value string) (client.Reply[wire.Webhook], error)

func resumeWebhook(registry *client.Client, ctx context.Context, id, _ string) (client.Reply[wire.Webhook], error) {
	return registry.ResumeWebhook(ctx, id)
}

func replayWebhook(registry *client.Client, ctx context.Context, id, from string) (client.Reply[wire.Webhook], error) {
	return registry.ReplayWebhook(ctx, id, client.Moment(from))
}

// webhookSetting adds the flag of an action's setting; value is its value once the flags are read.
type webhookSetting func(c *cobra.Command) (value func() string)

func webhookNothing(*cobra.Command) func() string { return func() string { return "" } }

func webhookReason(c *cobra.Command) func() string {
	reason := c.Flags().String("reason", "", "why; kept in the history")
	return func() string { return *reason }
}

func webhookFrom(c *cobra.Command) func() string {
	var from momentFlag
	momentVar(c.Flags(), &from, "from", momentWords)
	return func() string { return string(from.moment) }
}

// webhookActionCommand is a command with one setting at most.
func webhookActionCommand(remote *commandLine, action webhookAction, name, short string, setting webhookSetting) *cobra.Command {
	c := &cobra.Command{Use: name + " ID", Short: short, Args: cobra.ExactArgs(1)}
	value := setting(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := action(registry, c.Context(), args[0], value())
		if err != nil {
			return err
		}
		return remote.print(c, reply.Raw, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "webhook %s: %s done\n", args[0], name)
			return err
		})
	}
	return c
}

func deleteWebhookCommand(remote *commandLine) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "delete ID", Short: "End a webhook for ever", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		if err := registry.DeleteWebhook(c.Context(), args[0], reason); err != nil {
			return err
		}
		return remote.printDone(c, "webhook", args[0], "deleted")
	}
	return c
}
