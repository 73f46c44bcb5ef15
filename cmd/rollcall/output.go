package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/domain"
)

// The forms in which a command shows its answer (--output).
const (
	asTable = "table"
	asWide  = "wide" // a table with more columns
	asJSON  = "json" // as the registry answered
	asYAML  = "yaml" // the same, for people
	asName  = "name" // the names alone, for scripts

	asCSV      = "csv"      // a figure a line; of reports only
	asMarkdown = "markdown" // of reports only
)

var outputs = []string{asTable, asWide, asJSON, asYAML, asName, asCSV, asMarkdown}

// Marks of commands that lack outputs.
const (
	wordsOnly = "words-only" // no output for programs, for the reason that the mark has
	lacksYAML = "lacks-yaml" // neither yaml nor name
	hasSheets = "has-sheets" // csv and markdown, too

	asksNothing = "asks-nothing" // it asks no registry: where one is does not matter
)

// checkOutput refuses an output that does not exist, and one that the command does not have.
func (c *commandLine) checkOutput(cmd *cobra.Command) error {
	switch c.output {
	case asTable:
		return nil
	case asCSV, asMarkdown:
		if cmd.Annotations[hasSheets] == "" {
			return usageError{fmt.Errorf("%s has no output %s: only reports, timelines and histograms have", cmd.CommandPath(), c.output)}
		}
		return nil
	case asWide, asJSON, asYAML, asName:
		if cmd.Annotations[wordsOnly] != "" {
			return usageError{fmt.Errorf("%s has no output %s: %s", cmd.CommandPath(), c.output, cmd.Annotations[wordsOnly])}
		}
		if cmd.Annotations[lacksYAML] != "" && c.output != asJSON && c.output != asWide {
			return usageError{fmt.Errorf("%s has no output %s: it has table and json", cmd.CommandPath(), c.output)}
		}
		return nil
	}
	return usageError{fmt.Errorf("output must be table, wide, json, yaml, name, csv or markdown, not %q", c.output)}
}

// printsWords marks a command whose output is for people only, with the reason.
func printsWords(c *cobra.Command, because string) *cobra.Command {
	c.Annotations = map[string]string{wordsOnly: because}
	return c
}

// alone marks a command that asks no registry.
func alone(c *cobra.Command) *cobra.Command {
	c.Annotations[asksNothing] = "yes"
	return c
}

// print shows a reply: to programs as it is, to people as a table or a line.
func (c *commandLine) print(cmd *cobra.Command, reply []byte, people func(w io.Writer) error) error {
	return c.show(cmd, reply, nil, people)
}

// printValue is print for what is not a reply of the registry.
func (c *commandLine) printValue(cmd *cobra.Command, value any, people func(w io.Writer) error) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.print(cmd, b, people)
}

// printText shows a text that people keep as it is, and programs get as a string under its name.
func (c *commandLine) printText(cmd *cobra.Command, name, text string) error {
	return c.printValue(cmd, map[string]string{name: text}, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// show is print for a reply that has names; nil: it has none.
func (c *commandLine) show(cmd *cobra.Command, reply []byte, names func() []string, people func(w io.Writer) error) error {
	out := cmd.OutOrStdout()
	switch c.output {
	case asJSON:
		return writeJSON(out, bytes.TrimSpace(reply))
	case asYAML:
		return writeYAML(out, reply)
	case asName:
		if names == nil {
			return usageError{fmt.Errorf("%s has no output name: it lists nothing", cmd.CommandPath())}
		}
		for _, name := range names() {
			if _, err := fmt.Fprintln(out, name); err != nil {
				return err
			}
		}
		return nil
	}
	return people(c.page(out))
}

// forPrograms says whether the output is read by a program.
func (c *commandLine) forPrograms() bool { return c.output == asJSON || c.output == asYAML }

// writeItem writes an item of a sequence that may have no end: a line of JSON, or a document of YAML.
func (c *commandLine) writeItem(w io.Writer, item []byte) error {
	if c.output != asYAML {
		return writeJSON(w, item)
	}
	if _, err := io.WriteString(w, "---\n"); err != nil {
		return err
	}
	return writeYAML(w, item)
}

// writeJSON writes a line of JSON: to programs as it is, to a terminal with misleading characters escaped.
func writeJSON(w io.Writer, item []byte) (err error) {
	if isTerminal(w) {
		_, err = fmt.Fprintln(w, visibleJSON(item))
	} else {
		_, err = fmt.Fprintf(w, "%s\n", item)
	}
	return err
}

// writeYAML writes JSON as YAML, with its fields in their order.
func writeYAML(w io.Writer, reply []byte) error {
	var document yaml.Node
	if err := yaml.Unmarshal(reply, &document); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	plainStyle(&document)
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(&document), encoder.Close()); err != nil {
		return err
	}
	_, err := w.Write(text.Bytes())
	return err
}

// plainStyle takes JSON's quotes and brackets from a node. The encoder puts quotes where YAML needs them.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	for _, inner := range n.Content {
		plainStyle(inner)
	}
}

// page is where people read, with how they want to see it. Characters that mislead people are written visibly.
type page struct {
	io.Writer
	headers, wide, colours bool
	exact                  bool // no character is changed: a program reads the sheet
}

func (c *commandLine) page(w io.Writer) *page {
	return &page{w, !c.noHeaders, c.output == asWide, coloured(w), c.output == asCSV}
}

// Write implements io.Writer. REQUIRES: b ends with a whole character.
func (p *page) Write(b []byte) (int, error) {
	if p.exact {
		return p.Writer.Write(b)
	}
	_, err := io.WriteString(p.Writer, visible(string(b)))
	return len(b), err
}

// pageOf is the page that a writer is, or a plain one.
func pageOf(w io.Writer) *page {
	if p, ok := w.(*page); ok {
		return p
	}
	return &page{Writer: w, headers: true}
}

// coloured says whether colours are shown: on a terminal only, and not where NO_COLOR is set (https://no-color.org).
func coloured(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// title writes a line above a table, unless headers are not wanted.
func title(w io.Writer, format string, args ...any) {
	if pageOf(w).headers {
		fmt.Fprintf(w, format+"\n", args...)
	}
}

// table writes columns that line up. The header's columns are divided by tabs. Columns behind the header's mark "|" are
// shown in wide tables only.
func table(w io.Writer, header string, rows func(row func(cells ...any))) error {
	p := pageOf(w)
	narrow, more, _ := strings.Cut(header, "|")
	columns := strings.Split(narrow, "\t")
	if more != "" && p.wide {
		columns = append(columns, strings.Split(more, "\t")...)
	}
	var lines [][]cell
	if p.headers {
		line := make([]cell, len(columns))
		for i, name := range columns {
			line[i] = cell{text: name}
		}
		lines = append(lines, line)
	}
	rows(func(values ...any) {
		line := make([]cell, min(len(values), len(columns)))
		for i := range line {
			line[i] = cellOf(values[i])
		}
		lines = append(lines, line)
	})
	_, err := io.WriteString(p.Writer, layOut(lines, p.colours))
	return err
}

// cell is a text of a table, and the colour in which a terminal shows it (an SGR code; "": none).
type cell struct{ text, colour string }

// breaks are what would break a row in two. A version, a zone or a reason may have them.
var breaks = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ")

func cellOf(value any) cell {
	c := cell{text: visibleLine(breaks.Replace(fmt.Sprint(value)))}
	switch v := value.(type) {
	case domain.Status:
		c.colour = map[domain.Status]string{domain.Passing: "32", domain.Warning: "33", domain.Critical: "31", domain.Starting: "36"}[v]
	case domain.Traffic:
		c.colour = map[domain.Traffic]string{domain.Draining: "33", domain.Maintenance: "33"}[v]
	}
	return c
}

// layOut puts two spaces behind the widest text of each column but the last.
func layOut(lines [][]cell, colours bool) string {
	var widths []int
	for _, line := range lines {
		for i, c := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(c.text))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		pad := 0
		for i, c := range line {
			if c.text == "" {
				pad += widths[i] + 2
				continue
			}
			b.WriteString(strings.Repeat(" ", pad))
			if colours && c.colour != "" {
				fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m", c.colour, c.text)
			} else {
				b.WriteString(c.text)
			}
			pad = widths[i] + 2 - uniseg.StringWidth(c.text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
