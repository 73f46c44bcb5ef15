package bench

import (
	"fmt"
	"strings"
)

// figure is one measured number.
type figure struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Floor    string  `json:"floor,omitempty"` // the name of what it is held against
	Ratio    float64 `json:"ratio,omitempty"` // to that
	P50      float64 `json:"p50_ms,omitempty"`
	P99      float64 `json:"p99_ms,omitempty"`
	CPU      float64 `json:"server_cpu_us_per_op,omitempty"`
	CPURatio float64 `json:"server_cpu_ratio,omitempty"` // to the floor's
	RawRatio float64 `json:"raw_ratio,omitempty"`        // to the raw floor beside
	RawCPU   float64 `json:"raw_cpu_ratio,omitempty"`    // of the processor time, to the raw floor's
	Allocs   float64 `json:"server_allocs_per_op,omitempty"`
	Goals    []goal  `json:"goals,omitempty"`
	Note     string  `json:"note,omitempty"`
}

// goal is what a figure ought to be.
type goal struct {
	Of   string  `json:"of"` // value, ratio, raw_ratio, p99_ms or server_cpu_ratio
	Min  float64 `json:"min,omitempty"`
	Max  float64 `json:"max,omitempty"`
	Met  bool    `json:"met"`
	each string  // the unit, to be shown
}

func (g goal) String() string {
	verdict := "missed"
	if g.Met {
		verdict = "met"
	}
	if g.Max > 0 {
		return fmt.Sprintf("%s: %s at most %g%s", verdict, g.Of, g.Max, g.each)
	}
	return fmt.Sprintf("%s: %s at least %g%s", verdict, g.Of, g.Min, g.each)
}

func (f *figure) judge() {
	for i := range f.Goals {
		g := &f.Goals[i]
		v := map[string]float64{"value": f.Value, "ratio": f.Ratio, "raw_ratio": f.RawRatio, "p99_ms": f.P99, "server_cpu_ratio": f.CPURatio}[g.Of]
		g.Met = v > 0 && v >= g.Min && (g.Max == 0 || v <= g.Max)
	}
}

// add compares a figure with its floor and its goals, and prints it.
func (b *bench) add(f figure) {
	f.Name += b.suffix
	for _, floor := range b.figures {
		if f.Floor != "" && floor.Name == f.Floor {
			f.Ratio = over(f.Value, floor.Value)
			f.CPURatio = over(f.CPU, floor.CPU)
		}
	}
	if b.noGoals {
		f.Goals = nil
	}
	f.judge()
	b.figures = append(b.figures, f)
	cell := func(v float64, format string) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	if f.RawRatio > 0 {
		f.Note = strings.TrimPrefix(fmt.Sprintf("%s; %.2f of the raw floor, %.2f of its cpu", f.Note, f.RawRatio, f.RawCPU), "; ")
	}
	for _, g := range f.Goals {
		f.Note = strings.TrimPrefix(f.Note+"; "+g.String(), "; ")
	}
	fmt.Fprintf(b.out, "%-52s %12.1f %-11s %8s %8s %8s %9s %9s %7s %s\n", f.Name, f.Value, f.Unit, cell(f.Ratio, "%.2f"), cell(f.P50, "%.2f"), cell(f.P99, "%.2f"),
		cell(f.CPU, "%.1f"), cell(f.CPURatio, "%.2f"), cell(f.Allocs, "%.1f"), f.Note)
}

// over is a ratio, 0 where there is nothing to compare with.
func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
