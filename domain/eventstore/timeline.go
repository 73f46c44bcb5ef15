package eventstore

import (
	"fmt"
	"strconv"
	"strings"
)

// Timelines are the timelines to which a store's positions may belong: its present timeline, and the timelines that it left.
// The zero value is for a store that is on its first timeline.
type Timelines struct {
	Name  string // of the store's present timeline; "": its first
	Forks []Fork // where the store left earlier timelines, oldest first
}

// Fork is where a store left a timeline.
type Fork struct {
	Timeline string   // the timeline that was left
	After    Position // the last position that this timeline shares with the later ones
}

// Relation is the relation of a position of some timeline to a store.
type Relation uint8

// The relations.
const (
	Own      Relation = iota // the position is on the store's present timeline
	Ancestor                 // the position is on a timeline that the store left, at or before the fork
	Lost                     // the position is on a timeline that the store left, after the fork: its event is not in this store
	Foreign                  // the position is on a timeline on which the store has never been
	Ahead                    // of the timeline that the store is on, behind its end; only who asks the store knows
)

// GoesOn says whether the events up to a position of this relation are the same in this store.
func (r Relation) GoesOn() bool { return r == Own || r == Ancestor }

// Resolve gives the relation of a position of the named timeline to this store, and the position of this store after which a
// client with that position can resume. That is the same position, or, where the relation does not go on, the last position
// that both timelines share; 0: they share none.
func (t Timelines) Resolve(timeline string, p Position) (Position, Relation) {
	if timeline == t.Name {
		return p, Own
	}
	for _, fork := range t.Forks {
		if fork.Timeline != timeline {
			continue
		}
		if p <= fork.After {
			return p, Ancestor
		}
		return fork.After, Lost
	}
	return 0, Foreign
}

// Of is the timeline on which the event at a position of this store was recorded. An event before a fork is of the
// timeline that was left there, so that every store that has the event gives it one name.
func (t Timelines) Of(p Position) string {
	for _, fork := range t.Forks {
		if p <= fork.After {
			return fork.Timeline
		}
	}
	return t.Name
}

// Fork gives the timelines of a store that leaves its timeline after a position and goes on as another.
func (t Timelines) Fork(name string, after Position) Timelines {
	forks := make([]Fork, 0, len(t.Forks)+1)
	for _, f := range t.Forks { // a fork behind the new one is not in this log any more
		forks = append(forks, Fork{f.Timeline, min(f.After, after)})
	}
	return Timelines{Name: name, Forks: append(forks, Fork{t.Name, after})}
}

// OtherTimeline refuses a position that is lost or foreign.
type OtherTimeline struct {
	Timeline string   // of the position
	Position Position // the refused position
	Fork     Position // where the store left that timeline; 0: it was never on it
	Relation Relation // Lost or Foreign
}

func (e OtherTimeline) Error() string {
	name := "the store's first timeline"
	if e.Timeline != "" {
		name = "timeline " + e.Timeline
	}
	switch e.Relation {
	case Ahead:
		return fmt.Sprintf("position %d of %s is behind the registry's newest: the registry was made anew, or lost the end of its log", e.Position, name)
	case Lost:
		return fmt.Sprintf("position %d is of %s, which this registry left after position %d, when a backup was restored or events were lost: what stood there is not in this log", e.Position, name, e.Fork)
	}
	return fmt.Sprintf("position %d is of %s, which this registry has never been on", e.Position, name)
}

// Own gives the store's position for a position of the named timeline, or an OtherTimeline.
func (t Timelines) Own(timeline string, p Position) (Position, error) {
	own, relation := t.Resolve(timeline, p)
	if !relation.GoesOn() {
		return own, OtherTimeline{Timeline: timeline, Position: p, Fork: own, Relation: relation}
	}
	return own, nil
}

// AppendPosition appends the text of a position: the number, with "-" and the timeline behind it where that is not a
// store's first.
func AppendPosition(b []byte, timeline string, p Position) []byte {
	b = strconv.AppendUint(b, uint64(p), 10)
	if timeline != "" {
		b = append(append(b, '-'), timeline...)
	}
	return b
}

// CutPosition reads what AppendPosition wrote. A timeline's name has 1-16 hexadecimal digits in lower case.
func CutPosition(text string) (timeline string, p Position, ok bool) {
	number, timeline, named := strings.Cut(text, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(number) > 1 && number[0] == '0' || named && (len(timeline) == 0 || len(timeline) > 16 || strings.Trim(timeline, "0123456789abcdef") != "") {
		return "", 0, false
	}
	return timeline, Position(n), true
}
