package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// progress shows the progress of a long job: a bar with rate and ETA on a terminal, otherwise a line every sayEvery. A
// job that is shorter than sayEvery prints no line.
type progress struct {
	w     io.Writer
	what  string
	total int64 // 0: not known
	unit  string
	bar   *progressbar.ProgressBar // nil: lines
	began time.Time
	said  time.Time
}

// sayEvery is the time between two lines.
const sayEvery = 5 * time.Second

func newProgress(w io.Writer, what, unit string, total int64) *progress {
	p := &progress{w: w, what: what, total: total, unit: unit, began: time.Now(), said: time.Now()}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions64(cmp.Or(total, -1), // -1: the library's word for a total that is not known
			progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(unit), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f := fileOf(w)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// set says how much is done.
func (p *progress) set(done int64) {
	if p.total > 0 {
		done = min(done, p.total)
	}
	if p.bar != nil {
		_ = p.bar.Set64(done) // a bar that cannot be drawn does not affect the job
		return
	}
	if now := time.Now(); now.Sub(p.said) >= sayEvery && done > 0 {
		p.said = now
		rate := float64(done) / now.Sub(p.began).Seconds()
		if p.total == 0 {
			fmt.Fprintf(p.w, "%s: %d %s, %.0f/s\n", p.what, done, p.unit, rate)
			return
		}
		left := time.Duration(float64(p.total-done) / rate * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(p.w, "%s: %d of %d %s (%d %%), %.0f/s, %s left\n", p.what, done, p.total, p.unit, 100*done/p.total, rate, left)
	}
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// position is set for jobs that count in positions.
func (p *progress) position(at eventstore.Position) { p.set(int64(at)) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
