package wire

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Table is a part of a report as rows and columns. The first cell of a row names the row.
type Table struct {
	Name    string
	Columns []string
	Rows    [][]any // string, int, float64, Share, Seconds or time.Time
}

// Seconds is a cell that is a length of time.
type Seconds float64

// Share is a cell that is a part of a whole; nil: there is no whole.
type Share *float64

// Tables are the report as tables. A list without entries is left out.
func (r *Report) Tables() (all []Table) {
	add := func(name, columns string, rows [][]any) {
		if len(rows) > 0 {
			all = append(all, Table{name, strings.Fields(columns), rows})
		}
	}
	add("span", "figure value", [][]any{
		{"namespace", r.Namespace}, {"service", r.Service}, {"id", r.ID}, {"from", r.From}, {"to", r.To},
		{"length", Seconds(r.Seconds)}, {"listened", Seconds(r.Listened)}, {"events", r.Events}, {"below", r.Below},
	})
	var figures, states [][]any
	row := func(name string, f *ReportFigures) {
		figures = append(figures, []any{
			name, f.Registered.Min, f.Registered.Mean, f.Registered.Max, f.Ready.Min, f.Ready.Mean, f.Ready.Max,
			Share(f.ReadyShare), Share(f.EnoughShare), Seconds(f.BelowSeconds), Seconds(f.RegisteredSeconds), Seconds(f.ReadySeconds),
		})
		line := []any{name}
		for _, s := range []domain.Status{domain.Passing, domain.Warning, domain.Starting, domain.Critical} {
			line = append(line, Seconds(f.Statuses[s]))
		}
		for _, t := range []domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance} {
			line = append(line, Seconds(f.Traffic[t]))
		}
		states = append(states, line)
	}
	row("total", &r.Total)
	for i := range r.Groups {
		g := &r.Groups[i]
		row(g.Dimension+":"+g.Name, &g.ReportFigures)
	}
	add("instances", "group registered_min registered_mean registered_max ready_min ready_mean ready_max ready_share enough_share below registered_time ready_time", figures)
	add("states", "group passing warning starting critical serving draining maintenance", states)
	var rows [][]any
	for _, p := range r.BelowPeriods {
		rows = append(rows, []any{p.From, p.To, Seconds(p.Seconds), p.Lowest, Seconds(p.NotListening)})
	}
	add("below", "from to length lowest not_listening", rows)
	rows = [][]any{
		{"registered", r.Churn.Registered}, {"again", r.Churn.Again}, {"ended", r.Churn.Ended}, {"deregistered", r.Churn.Deregistered},
		{"lapsed", r.Churn.Lapsed}, {"replaced", r.Churn.Replaced}, {"check_failed", r.Churn.CheckFailed}, {"crashed", r.Churn.Crashed},
	}
	for code := range 256 {
		if n := r.Churn.ExitCodes[code]; n > 0 {
			rows = append(rows, []any{fmt.Sprintf("crashed with exit code %d", code), n})
		}
	}
	rows = append(rows, []any{"status_changes", r.StatusChanges}, []any{"below_periods", r.BelowCount}, []any{"flapping", r.FlappingCount}, []any{"deploys", r.DeployCount},
		[]any{"interruptions", r.Interruptions.Count})
	add("counts", "what count", rows)
	d := &r.Deaths
	add("deaths", "what count min mean max", [][]any{
		{"deaths", d.Count}, delaysRow("detected", d.Detection), {"not known when", d.Unknown}, {"recovered", d.Recovered}, delaysRow("replaced", d.Replaced), {"not replaced", d.Waiting},
	})
	rows = nil
	for _, f := range r.Flapping {
		rows = append(rows, []any{f.Namespace + "/" + f.Service + "/" + f.ID, f.Changes, f.Times})
	}
	add("flapping", "instance changes times", rows)
	rows = nil
	for _, d := range r.Deploys {
		rows = append(rows, []any{d.Service + " " + d.Version, strings.Join(d.Replaces, " "), d.From, d.To, Seconds(d.Seconds), d.Instances, d.Ready.Min, d.Ready.Mean, d.Ready.Max})
	}
	add("deploys", "deploy replaces from to length instances ready_min ready_mean ready_max", rows)
	rows = nil
	for _, i := range r.Interruptions.Newest {
		rows = append(rows, []any{i.From, i.To, Seconds(i.To.Sub(i.From).Seconds()), string(i.Cause)})
	}
	add("interruptions", "from to length cause", rows)
	if h := r.Heartbeats; h != nil {
		add("heartbeats", "from to received longest_gap", [][]any{{h.From, h.To, int(h.Received), Seconds(h.LongestGap)}})
	}
	rows = nil
	for i, note := range r.Notes {
		rows = append(rows, []any{strconv.Itoa(i + 1), note})
	}
	add("notes", "number note", rows)
	return all
}

func delaysRow(name string, d Delays) []any {
	if d.Count == 0 {
		return []any{name, 0}
	}
	return []any{name, d.Count, Seconds(d.Min), Seconds(d.Mean), Seconds(d.Max)}
}

// WriteCSV writes a report as comma-separated values (RFC 4180): one figure a line, with the table, the row and the column
// that it has in Tables. Lengths of time are in seconds.
func (r *Report) WriteCSV(w io.Writer) error {
	lines := csv.NewWriter(w)
	lines.UseCRLF = true
	if err := lines.Write([]string{"table", "row", "figure", "value"}); err != nil {
		return err
	}
	for _, t := range r.Tables() {
		for _, row := range t.Rows {
			for i, c := range row[1:] {
				if err := lines.Write([]string{t.Name, exactCell(row[0]), t.Columns[i+1], exactCell(c)}); err != nil {
					return err
				}
			}
		}
	}
	lines.Flush()
	return lines.Error()
}

// writeCSV writes a table as comma-separated values (RFC 4180): its columns, then a row a line.
func (t *Table) writeCSV(w io.Writer) error {
	lines := csv.NewWriter(w)
	lines.UseCRLF = true
	if err := lines.Write(t.Columns); err != nil {
		return err
	}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = exactCell(c)
		}
		if err := lines.Write(cells); err != nil {
			return err
		}
	}
	lines.Flush()
	return lines.Error()
}

// exactCell is a cell for programs. A text that a spreadsheet would take for a formula begins with an apostrophe.
func exactCell(cell any) string {
	switch c := cell.(type) {
	case string:
		if c != "" && strings.IndexByte("=+-@\t\r", c[0]) >= 0 {
			return "'" + c
		}
		return c
	case time.Time:
		return c.UTC().Format(time.RFC3339Nano)
	case Seconds:
		return strconv.FormatFloat(float64(c), 'f', -1, 64)
	case float64:
		return strconv.FormatFloat(c, 'f', -1, 64)
	case Share:
		if c == nil {
			return ""
		}
		return strconv.FormatFloat(*c, 'f', -1, 64)
	}
	return fmt.Sprint(cell)
}

// Cell is a cell for people.
func Cell(cell any) string {
	switch c := cell.(type) {
	case time.Time:
		return c.UTC().Format("2006-01-02 15:04:05Z")
	case Seconds:
		if c < 0 || c > 1e9 { // a time.Duration may be too short
			return strconv.FormatFloat(float64(c), 'f', 0, 64) + "s"
		}
		d := time.Duration(float64(c) * float64(time.Second))
		if d >= time.Minute {
			return d.Round(time.Second).String()
		}
		return d.Round(time.Millisecond).String()
	case float64:
		return strconv.FormatFloat(c, 'f', 2, 64)
	case Share:
		if c == nil {
			return "-"
		}
		return strconv.FormatFloat(*c*100, 'f', 3, 64) + "%"
	case string:
		if c == "" {
			return "-"
		}
		return c
	}
	return fmt.Sprint(cell)
}

// WriteMarkdown writes a report as Markdown, with a table for each of Tables.
func (r *Report) WriteMarkdown(w io.Writer) error {
	what := r.Namespace
	for _, part := range []string{r.Service, r.ID} {
		if part != "" {
			what += "/" + part
		}
	}
	return writeMarkdown(w, "Report on "+what, r.Tables())
}

func writeMarkdown(w io.Writer, headline string, tables []Table) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", markdownCell(headline))
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n|", strings.ToUpper(t.Name[:1])+t.Name[1:])
		for _, c := range t.Columns {
			b.WriteString(" " + strings.ReplaceAll(c, "_", " ") + " |")
		}
		b.WriteString("\n|" + strings.Repeat(" --- |", len(t.Columns)) + "\n")
		for _, row := range t.Rows {
			b.WriteString("|")
			for i := range t.Columns {
				text := ""
				if i < len(row) {
					text = markdownCell(Cell(row[i]))
				}
				b.WriteString(" " + text + " |")
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`)

// markdownCell is a text that Markdown shows as it is.
func markdownCell(text string) string { return markdownEscapes.Replace(text) }
