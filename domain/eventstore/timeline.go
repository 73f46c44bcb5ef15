package eventstore

import "fmt"

// Timelines are the histories that a store's positions may belong to: the one that the store is on, and those
// that it left. The zero value is a store that is on its first.
type Timelines struct {
	Name  string // of the timeline that the store is on; "": its first
	Forks []Fork // where the store left earlier ones, oldest first
}

// Fork is where a store left a timeline.
type Fork struct {
	Timeline string   // that was left
	After    Position // the last position that the timeline shares with those that came after it
}

// Relation says what a position of some timeline is to a store.
type Relation uint8

// The relations.
const (
	Own      Relation = iota // of the timeline that the store is on
	Ancestor                 // of a timeline that the store left, where both still were the same
	Lost                     // of a timeline that the store left, behind the fork: what it counts is not in this store
	Foreign                  // of a timeline that the store has never been on
)

// GoesOn says whether a position of this relation counts the same events in this store.
func (r Relation) GoesOn() bool { return r == Own || r == Ancestor }

// Resolve says what a position of the named timeline is to a store with these timelines, and from which position
// of the store's own its bearer can go on: the same one, or where the relation does not go on, the last one that
// the bearer's timeline is known to share, 0 if none is.
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

// Fork gives the timelines of a store that leaves its timeline after a position and goes on as another.
func (t Timelines) Fork(name string, after Position) Timelines {
	forks := make([]Fork, 0, len(t.Forks)+1)
	for _, f := range t.Forks { // a fork behind the new one is not in this log any more
		forks = append(forks, Fork{f.Timeline, min(f.After, after)})
	}
	return Timelines{Name: name, Forks: append(forks, Fork{t.Name, after})}
}

// OtherTimeline refuses a position that does not count the same events in this store.
type OtherTimeline struct {
	Timeline string   // of the position
	Position Position // that was given
	Fork     Position // where the store left that timeline, 0: it was never on it
	Relation Relation // Lost or Foreign
}

func (e OtherTimeline) Error() string {
	name := "the store's first timeline"
	if e.Timeline != "" {
		name = "timeline " + e.Timeline
	}
	if e.Relation == Lost {
		return fmt.Sprintf("position %d is of %s, which this registry left after position %d, when a backup was restored or events were lost: what stood there is not in this log", e.Position, name, e.Fork)
	}
	return fmt.Sprintf("position %d is of %s, which this registry has never been on", e.Position, name)
}

// Own gives the store's own position for one of the named timeline, or an OtherTimeline.
func (t Timelines) Own(timeline string, p Position) (Position, error) {
	own, relation := t.Resolve(timeline, p)
	if !relation.GoesOn() {
		return own, OtherTimeline{Timeline: timeline, Position: p, Fork: own, Relation: relation}
	}
	return own, nil
}
