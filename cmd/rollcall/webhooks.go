package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/domain"
)

func webhooksCommand(remote *client) *cobra.Command {
	c := &cobra.Command{Use: "webhooks", Short: "Manage webhooks: events that are posted to a URL", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(
		createWebhookCommand(remote), listWebhooksCommand(remote), webhookDeliveriesCommand(remote), webhookHistoryCommand(remote),
		webhookActionCommand(remote, "pause", "Stop a webhook's deliveries; what is due waits", "reason", "why; kept in the history"),
		webhookActionCommand(remote, "resume", "Let a webhook's deliveries go on", "", ""),
		webhookActionCommand(remote, "replay", "Deliver again what happened from a moment on", "from", `moment: RFC 3339 time, position, or "5m ago"`),
		deleteWebhookCommand(remote),
	)
	return c
}

func createWebhookCommand(remote *client) *cobra.Command {
	var spec domain.WebhookSpec
	var secret, from string
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
	f.StringVar(&from, "from", "", `from this moment on: RFC 3339 time, position, or "5m ago"`)
	c.RunE = func(c *cobra.Command, args []string) error {
		spec.URL = args[0]
		if spec.Service != "" || c.Flags().Changed("ns") {
			spec.Namespace = remote.namespace
		}
		body := struct {
			domain.WebhookSpec
			Secret string `json:"secret,omitempty"`
			From   string `json:"from,omitempty"`
		}{spec, secret, from}
		b, err := remote.call(c.Context(), http.MethodPost, "/v1/webhooks", nil, body)
		if err != nil {
			return err
		}
		var w struct{ ID, Secret string }
		if err := json.Unmarshal(b, &w); err != nil {
			return fmt.Errorf("unreadable answer: %w", err)
		}
		return remote.print(c, b, func(out io.Writer) error {
			fmt.Fprintf(out, "webhook %s posts to %s\n", w.ID, args[0])
			if w.Secret != "" {
				fmt.Fprintf(out, "its signing secret, which is not shown again: %s\n", w.Secret)
			}
			return nil
		})
	}
	return c
}

func listWebhooksCommand(remote *client) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List webhooks", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var list struct {
				Webhooks []struct {
					ID, URL, Namespace, Service, Reason string
					Types                               []string
					Paused                              bool
				}
			}
			b, err := remote.fetch(c, "/v1/webhooks", nil, &list)
			if err != nil {
				return err
			}
			return remote.print(c, b, func(w io.Writer) error {
				return table(w, "ID\tURL\tNAMESPACE\tSERVICE\tTYPES\tSTATE", func(row func(...any)) {
					for _, h := range list.Webhooks {
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

func webhookDeliveriesCommand(remote *client) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "deliveries ID", Short: "Show a webhook's latest attempts to deliver", Args: cobra.ExactArgs(1)}
	c.Flags().IntVar(&limit, "limit", 20, "at most so many")
	c.RunE = func(c *cobra.Command, args []string) error {
		var log struct {
			Attempts []struct {
				Event, Position, Type, Error string
				Attempt, Status              int
				At                           time.Time
				Took                         domain.Duration
				Delivered                    bool
			}
		}
		b, err := remote.fetch(c, "/v1/webhooks/"+url.PathEscape(args[0])+"/deliveries", url.Values{"limit": {fmt.Sprint(limit)}}, &log)
		if err != nil {
			return err
		}
		return remote.print(c, b, func(w io.Writer) error {
			return table(w, "TIME\tPOSITION\tTYPE\tATTEMPT\tSTATUS\tTOOK\tRESULT", func(row func(...any)) {
				for _, a := range log.Attempts {
					result := "delivered"
					if !a.Delivered {
						result = oneLine(a.Error)
					}
					row(a.At.Format("2006-01-02 15:04:05.000"), a.Position, a.Type, a.Attempt, a.Status, time.Duration(a.Took).Round(100*time.Microsecond), result)
				}
			})
		})
	}
	return c
}

func webhookHistoryCommand(remote *client) *cobra.Command {
	return &cobra.Command{
		Use: "history ID", Short: "Tell who did what to a webhook", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var page historyPage
			b, err := remote.fetch(c, "/v1/webhooks/"+url.PathEscape(args[0])+"/history", nil, &page)
			if err != nil {
				return err
			}
			return remote.print(c, b, func(w io.Writer) error { return historyTable(w, page) })
		},
	}
}

// webhookActionCommand is a command with one setting at most.
func webhookActionCommand(remote *client, action, short, field, usage string) *cobra.Command {
	var value string
	c := &cobra.Command{Use: action + " ID", Short: short, Args: cobra.ExactArgs(1)}
	if field != "" {
		c.Flags().StringVar(&value, field, "", usage)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		body := map[string]string{}
		if value != "" {
			body[field] = value
		}
		b, err := remote.call(c.Context(), http.MethodPost, "/v1/webhooks/"+url.PathEscape(args[0])+"/"+action, nil, body)
		if err != nil {
			return err
		}
		return remote.print(c, b, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "webhook %s: %s done\n", args[0], action)
			return err
		})
	}
	return c
}

func deleteWebhookCommand(remote *client) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "delete ID", Short: "End a webhook for ever", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, args []string) error {
		query := url.Values{}
		if reason != "" {
			query.Set("reason", reason)
		}
		if _, err := remote.call(c.Context(), http.MethodDelete, "/v1/webhooks/"+url.PathEscape(args[0]), query, nil); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "webhook %s deleted\n", args[0])
		return err
	}
	return c
}
