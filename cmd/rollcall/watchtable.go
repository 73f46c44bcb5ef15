package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// watchTable keeps a copy of what is watched, and says what a terminal of some size shows of it.
type watchTable struct {
	title     string
	colours   bool
	instances map[domain.Key]wire.Instance
	news      []string // the last changes, newest last
	lost      error    // why the connection is lost; nil: it is there
	top       int      // index of the first instance that is shown
	page      int      // how many instances were shown last
}

func newWatchTable(title string, colours bool) *watchTable {
	return &watchTable{title: title, colours: colours, instances: map[domain.Key]wire.Instance{}, page: 1}
}

// newsLines is how many changes are shown at most. A low terminal shows fewer.
const newsLines = 8

func (w *watchTable) update(u *client.Update) {
	w.lost = nil
	u.Apply(w.instances)
	switch {
	case u.Change != nil:
		w.news = append(w.news, newsLine(u.Change))
	case u.Kind == wire.StreamPanic:
		w.news = append(w.news, panicLine(u.Panics))
	}
	if len(w.news) > 0 {
		w.news = w.news[max(0, len(w.news)-newsLines):]
	}
}

// scroll moves the table as a key says.
func (w *watchTable) scroll(k key) {
	switch k {
	case keyUp:
		w.top--
	case keyDown:
		w.top++
	case keyPageUp:
		w.top -= w.page
	case keyPageDown:
		w.top += w.page
	case keyHome:
		w.top = 0
	case keyEnd:
		w.top = len(w.instances)
	}
}

// lines are what a terminal with so many lines shows at a moment, from the top.
func (w *watchTable) lines(height int, now time.Time) []string {
	news := w.news[len(w.news)-min(len(w.news), max(0, height/3)):]
	state := ""
	if w.lost != nil {
		state = "\x1b[7m " + errorLine(w.lost) + "; trying again \x1b[0m"
	}
	w.page = max(1, height-len(news)-4) // without the title, the state, the header and the line above the news
	w.top = max(0, min(w.top, len(w.instances)-w.page))
	var b strings.Builder
	p := &page{Writer: &b, headers: true, colours: w.colours}
	_ = table(p, "INSTANCE\tADDRESS\tSTATUS\tTRAFFIC\tVERSION\tZONE", func(row func(...any)) {
		keys := slices.SortedFunc(maps.Keys(w.instances), byName)
		for _, key := range keys[w.top:min(len(keys), w.top+w.page)] {
			i := w.instances[key]
			row(key, i.Address, i.Status, i.Traffic, dash(i.Version), dash(i.Zone))
		}
	}) // a strings.Builder takes everything
	lines := []string{fmt.Sprintf("%s  %s%s  %s", stamp(now), w.title, w.shown(), "(q: quit)"), state}
	lines = append(lines, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
	for len(lines) < height-len(news) {
		lines = append(lines, "")
	}
	lines = append(lines, news...)
	return lines[:min(len(lines), height)]
}

// shown says how many instances there are, and which of them are on the screen if not all are.
func (w *watchTable) shown() string {
	n := len(w.instances)
	all := ", " + count(n, "instance")
	if n <= w.page {
		return all
	}
	return fmt.Sprintf("%s, %d-%d shown", all, w.top+1, min(n, w.top+w.page))
}

func byName(a, b domain.Key) int { return cmp.Compare(a.String(), b.String()) }
