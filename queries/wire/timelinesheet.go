package wire

import (
	"io"
	"maps"
	"slices"
	"strings"
)

// Tables are the timeline as a table: an interval a row.
func (t *Timeline) Tables() []Table {
	intervals := Table{Name: "intervals", Columns: strings.Fields("instance from to length epoch status traffic ready zone version owner began by ended")}
	for _, lane := range t.Lanes {
		for _, i := range lane.Intervals {
			row := []any{
				lane.ID, i.From, i.To, Seconds(i.To.Sub(i.From).Seconds()), int(i.Epoch), string(i.Status), string(i.Traffic), yesNo(i.Ready), i.Zone, i.Version, i.Owner,
				"", "", "",
			}
			if i.Began != nil {
				row[11], row[12] = i.Began.Summary, i.Began.Actor
			}
			if i.Ended != nil {
				row[13] = i.Ended.Summary
			}
			intervals.Rows = append(intervals.Rows, row)
		}
	}
	return []Table{intervals}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// WriteCSV writes a timeline as comma-separated values (RFC 4180): an interval a line. Lengths are in seconds.
func (t *Timeline) WriteCSV(w io.Writer) error { return t.Tables()[0].writeCSV(w) }

// WriteMarkdown writes a timeline as Markdown, with a table.
func (t *Timeline) WriteMarkdown(w io.Writer) error {
	return writeMarkdown(w, "Timeline of "+t.Namespace+"/"+t.Service, t.Tables())
}

// Tables are the histogram as a table: a bucket a row, with a column for each type that has events.
func (h *Histogram) Tables() []Table {
	types := slices.Sorted(maps.Keys(h.Types))
	buckets := Table{Name: "buckets", Columns: append([]string{"from", "to"}, append(types, "total")...)}
	for i, from := range h.Buckets {
		to := h.To
		if i+1 < len(h.Buckets) {
			to = h.Buckets[i+1]
		}
		row, total := []any{from, to}, 0
		for _, t := range types {
			row = append(row, h.Types[t][i])
			total += h.Types[t][i]
		}
		buckets.Rows = append(buckets.Rows, append(row, total))
	}
	return []Table{buckets}
}

// WriteCSV writes a histogram as comma-separated values (RFC 4180): a bucket a line.
func (h *Histogram) WriteCSV(w io.Writer) error { return h.Tables()[0].writeCSV(w) }

// WriteMarkdown writes a histogram as Markdown, with a table.
func (h *Histogram) WriteMarkdown(w io.Writer) error {
	return writeMarkdown(w, "Events over time", h.Tables())
}
