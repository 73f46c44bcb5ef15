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
	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func checksCommand(remote *commandLine) *cobra.Command {
	var statuses []string
	c := &cobra.Command{
		Use:     "checks SERVICE[/ID]",
		Short:   "List the checks of a service's instances, or of one instance",
		Example: "  rollcall checks checkout\n  rollcall checks checkout/a-1\n  rollcall checks checkout --status critical",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringSliceVar(&statuses, "status", nil, "only checks of this status; may be given again")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		var service domain.ServiceKey
		id := ""
		if strings.Contains(args[0], "/") {
			key, err := remote.instance(args[0])
			if err != nil {
				return err
			}
			service, id = key.ServiceKey(), key.ID
		} else if service, err = remote.service(args[0]); err != nil {
			return err
		}
		picked := make([]domain.Status, len(statuses))
		for i, s := range statuses {
			picked[i] = domain.Status(s)
		}
		list, err := registry.Checks(c.Context(), service, id, picked...)
		if err != nil {
			return err
		}
		return remote.print(c, list.Raw, func(w io.Writer) error {
			title(w, "checks of %s in namespace %s", args[0], service.Namespace)
			return checkTable(w, list.Value, time.Now())
		})
	}
	return c
}

func checkTable(w io.Writer, list wire.CheckList, now time.Time) error {
	return table(w, "INSTANCE\tCHECK\tKIND\tSTATUS\tSINCE\tBY\tNEXT\tOUTPUT", func(row func(...any)) {
		for _, i := range list.Instances {
			for _, c := range i.Checks {
				status := string(c.Status)
				if c.Flapping {
					status += " (flapping)"
				}
				next := c.NextLook
				if next == nil {
					next = c.LapsesAt
				}
				in := "-"
				if next != nil {
					in = next.Sub(now).Round(time.Second).String()
				}
				by := c.LookedBy
				if by == "" {
					by = c.By
				}
				row(i.ID, c.ID, c.Kind, status, queries.Spaced(now.Sub(c.Since).Round(time.Second))+" ago", dash(by), in, dash(outputInTable(oneLine(c.Output))))
			}
		}
	})
}

// outputInTable is the beginning of an output, as much as a table shows: an output may have 4 KiB.
func outputInTable(output string) string {
	const most = 120
	count := 0
	for at := range output {
		if count == most {
			return output[:at] + "…"
		}
		count++
	}
	return output
}

func checkCommand(remote *commandLine) *cobra.Command {
	c := group("check", "Report a ttl check, or add and remove checks")
	for _, report := range []struct {
		verb, does string
		status     domain.Status
	}{{"pass", "passes", domain.Passing}, {"warn", "warns", domain.Warning}, {"fail", "fails", domain.Critical}} {
		c.AddCommand(reportCommand(remote, report.verb, report.does, report.status))
	}
	c.AddCommand(addCheckCommand(remote), removeCheckCommand(remote))
	return c
}

func reportCommand(remote *commandLine, verb, does string, status domain.Status) *cobra.Command {
	var output string
	var of precondition
	c := &cobra.Command{
		Use:     verb + " SERVICE/ID CHECK",
		Short:   fmt.Sprintf("Report that a ttl check %s, and renew it", does),
		Example: fmt.Sprintf("  rollcall check %s checkout/a-1 worker --reason 'queue is %s'", verb, map[domain.Status]string{domain.Passing: "short", domain.Warning: "long", domain.Critical: "stuck"}[status]),
		Args:    cobra.ExactArgs(2),
	}
	c.Flags().StringVar(&output, "reason", "", "what was seen; kept with a change of status")
	c.Flags().StringVar(&output, "note", "", "what was seen; kept with a change of status")
	_ = c.Flags().MarkDeprecated("note", "it is called --reason now") // fails for an unknown flag only
	of.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		return remote.command(c, args[0], "check "+args[1]+" "+does, func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.ReportCheck(ctx, key, args[1], status, output, options...)
		})
	}
	return c
}

func addCheckCommand(remote *commandLine) *cobra.Command {
	var of precondition
	c := &cobra.Command{
		Use:     "add SERVICE/ID CHECK",
		Short:   "Give an instance a check, or define it anew",
		Example: "  rollcall check add checkout/a-1 id=http,kind=http,url=http://10.0.0.5:8080/health,interval=10s",
		Long:    "Give an instance a check, or define it anew.\n\n" + checkForm,
		Args:    cobra.ExactArgs(2),
	}
	of.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		check, err := readCheck(args[1])
		if err != nil {
			return err
		}
		return remote.command(c, args[0], "has check "+check.ID, func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.AddCheck(ctx, key, check, options...)
		})
	}
	return c
}

func removeCheckCommand(remote *commandLine) *cobra.Command {
	var of precondition
	c := &cobra.Command{
		Use:   "remove SERVICE/ID CHECK",
		Short: "Take a check from an instance",
		Args:  cobra.ExactArgs(2),
	}
	of.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		return remote.command(c, args[0], "has no check "+args[1]+" any more", func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.RemoveCheck(ctx, key, args[1], options...)
		})
	}
	return c
}

// checkForm says how the command line has a check.
const checkForm = `A check is JSON as the API takes it, or fields of that JSON as name=value, separated by commas,
such as id=worker,kind=ttl,ttl=15s.`

// readCheck reads a check from the command line.
func readCheck(text string) (c domain.Check, err error) {
	document := []byte(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		fields := map[string]any{}
		for field := range strings.SplitSeq(text, ",") {
			name, value, ok := strings.Cut(field, "=")
			if !ok {
				return c, usageError{fmt.Errorf("a check has fields name=value, not %q", field)}
			}
			if _, twice := fields[name]; twice {
				return c, usageError{fmt.Errorf("a check is wrong: %s must be given once", name)}
			}
			fields[name] = checkValue(name, value)
		}
		if document, err = json.Marshal(fields); err != nil {
			return c, err
		}
	}
	if err := httpapi.DecodeStrict(document, &c); err != nil {
		return c, usageError{fmt.Errorf("a check is wrong: %w", err)}
	}
	if c.ID == "" {
		return c, usageError{errors.New("a check needs an id")}
	}
	return c, nil
}

// checkValue is a value of a field as JSON has it: numbers and truth values are not in quotes.
func checkValue(name, value string) any {
	switch name {
	case "failures", "successes", "follow_redirects", "tls", "tls_skip_verify":
		if json.Valid([]byte(value)) {
			return json.RawMessage(value)
		}
	case "expected_statuses", "warning_statuses":
		return strings.Split(value, " ")
	}
	return value
}

// leaseTime is a duration on the command line, or "none".
type leaseTime domain.Duration

// String, Set and Type are for pflag.
func (l *leaseTime) String() string {
	if *l == 0 {
		return ""
	}
	return domain.Duration(*l).String()
}

// Set reads a duration.
func (l *leaseTime) Set(text string) error {
	if (*domain.Duration)(l).UnmarshalText([]byte(text)) != nil {
		return errors.New("must be a duration such as 30s or 5m")
	}
	if *l == 0 {
		return errors.New("must be longer than 0s")
	}
	return nil
}

// Type names the kind of value in the help.
func (l *leaseTime) Type() string { return "duration" }
