package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func reportsCommand(remote *commandLine) *cobra.Command {
	c := group("report", "Tell in figures what happened to a service, an instance or a namespace")
	c.Long = "Each figure is computed from the events, for any span of the past. docs/reports.md defines each."
	c.Example = "  rollcall report service checkout --from '30d ago'\n  rollcall report service checkout --from yesterday --to today --below 3 -o markdown\n" +
		"  rollcall report instance checkout/a-1 --from '7d ago' -o csv"
	ask := func(use, short string, ask func(c *cobra.Command, registry *client.Client, name string, q client.ReportQuery) (client.Reply[wire.Report], error)) {
		c.AddCommand(reportOnCommand(remote, use, short, ask))
	}
	ask("service SERVICE", "Tell what happened to a service", func(c *cobra.Command, registry *client.Client, name string, q client.ReportQuery) (reply client.Reply[wire.Report], err error) {
		key, err := remote.service(name)
		if err != nil {
			return reply, err
		}
		return registry.ReportService(c.Context(), key, q)
	})
	ask("instance SERVICE/ID", "Tell what happened to an instance", func(c *cobra.Command, registry *client.Client, name string, q client.ReportQuery) (reply client.Reply[wire.Report], err error) {
		key, err := remote.instance(name)
		if err != nil {
			return reply, err
		}
		return registry.ReportInstance(c.Context(), key, q)
	})
	ask("namespace NAMESPACE", "Tell what happened to a namespace and its services", func(c *cobra.Command, registry *client.Client, name string, q client.ReportQuery) (client.Reply[wire.Report], error) {
		return registry.ReportNamespace(c.Context(), name, q)
	})
	return c
}

func reportOnCommand(remote *commandLine, use, short string, ask func(*cobra.Command, *client.Client, string, client.ReportQuery) (client.Reply[wire.Report], error)) *cobra.Command {
	var from, to momentFlag
	var below int
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), Annotations: map[string]string{hasSheets: "yes"}}
	f := c.Flags()
	momentVar(f, &from, "from", "where the span begins; needed: "+momentWords)
	momentVar(f, &to, "to", "where the span ends; left out, now")
	f.IntVar(&below, "below", 1, "list the times with fewer ready instances than this")
	c.RunE = func(c *cobra.Command, args []string) error {
		if from.moment == "" {
			return usageError{errors.New("--from is needed: the moment at which the report begins")}
		}
		if below < 1 {
			return usageError{errors.New("--below must be at least 1")}
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := ask(c, registry, args[0], client.ReportQuery{From: from.moment, To: to.moment, Below: below})
		if err != nil {
			return err
		}
		return remote.printSheet(c, reply.Raw, &reply.Value, nil)
	}
	return c
}

// sheet is what has a form as tables.
type sheet interface {
	Tables() []wire.Table
	WriteCSV(io.Writer) error
	WriteMarkdown(io.Writer) error
}

// printSheet prints a sheet in the form that was asked for. people tells people more behind the tables; nil: nothing.
func (c *commandLine) printSheet(cmd *cobra.Command, raw []byte, s sheet, people func(io.Writer) error) error {
	switch c.output {
	case asCSV:
		return s.WriteCSV(cmd.OutOrStdout())
	case asMarkdown:
		return s.WriteMarkdown(cmd.OutOrStdout())
	}
	return c.print(cmd, raw, func(w io.Writer) error {
		if err := sheetTables(w, s.Tables()); err != nil || people == nil {
			return err
		}
		return people(w)
	})
}

// sheetTables shows tables to people.
func sheetTables(w io.Writer, all []wire.Table) error {
	for i, t := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		title(w, "%s", t.Name)
		columns := strings.ToUpper(strings.ReplaceAll(strings.Join(t.Columns, "\t"), "_", " "))
		err := table(w, columns, func(row func(...any)) {
			for _, cells := range t.Rows {
				texts := make([]any, len(cells))
				for i, c := range cells {
					texts[i] = wire.Cell(c)
				}
				row(texts...)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
