package raftstore

import (
	"slices"
	"testing"
	"time"
)

// newRounds are rounds whose timer does nothing.
func newRounds(t *testing.T) *rounds {
	r := &rounds{late: time.AfterFunc(time.Hour, func() {})}
	t.Cleanup(func() { r.late.Stop() })
	return r
}

// entryOf is an entry of so many bytes, which begins with the node.
func entryOf(node uint64, size int) []byte {
	return append([]byte{byte(node)}, make([]byte, size-1)...)
}

// A step has the leader hold the blocks that come at a time, and says which nodes' blocks then go into the log.
type step struct {
	what      string
	at        time.Duration // since the step before
	committed uint64
	come      []uint64 // nodes whose blocks come
	size      int      // bytes of each
	goes      []uint64 // nodes whose blocks go into the log; nil: none do
}

func (r *rounds) play(t *testing.T, steps []step) {
	t.Helper()
	now := time.Second
	for _, s := range steps {
		now += s.at
		r.look(s.committed, now)
		for _, node := range s.come {
			r.hold(node, entryOf(node, s.size))
		}
		var goes []uint64
		if len(r.held) > 0 && r.due(s.committed, now) {
			for _, entry := range r.begin(now) {
				goes = append(goes, uint64(entry[0]))
				r.newest++
			}
		}
		if !slices.Equal(goes, s.goes) {
			t.Errorf("%s: the blocks of %v go into the log, not of %v", s.what, goes, s.goes)
		}
	}
}

func TestTheBlocksOfAllNodesGoIntoTheLogTogether(t *testing.T) {
	const ms, size = time.Millisecond, 300
	newRounds(t).play(t, []step{
		{"nothing is under way", 0, 0, []uint64{1}, size, []uint64{1}},
		{"what comes meanwhile waits", ms, 0, []uint64{2, 3}, size, nil},
		{"until the first round is committed", ms, 1, nil, 0, []uint64{2, 3}},
		{"the callers of the first node come again", ms, 1, []uint64{1}, size, nil},
		{"the others are answered", ms, 3, nil, 0, nil},
		{"and come again, too", ms, 3, []uint64{3, 2}, size, []uint64{1, 3, 2}},
		{"all three come again", 2 * ms, 6, []uint64{2, 1, 3}, size, []uint64{2, 1, 3}},
		{"one stays away", 3 * ms / 2, 9, []uint64{2, 1}, size, nil},
		{"it is waited for three times as long as a round takes", 9*ms/2 - 1, 9, nil, 0, nil},
		{"and no longer", 1, 9, nil, 0, []uint64{2, 1}},
		{"it is waited for once more", 3 * ms, 11, []uint64{1, 2}, size, nil},
		{"for a bounded time", returnFor, 11, nil, 0, []uint64{1, 2}},
		{"nobody waits for it any more", 2 * ms, 13, []uint64{2, 1}, size, []uint64{2, 1}},
		{"its next block waits for the others", 2 * ms, 15, []uint64{3}, size, nil},
		{"which come", 0, 15, []uint64{1, 2}, size, []uint64{3, 1, 2}},
	})
}

func TestARoundOfOneNodeWaitsForNobody(t *testing.T) {
	const ms = time.Millisecond
	newRounds(t).play(t, []step{
		{"one node", 0, 0, []uint64{1}, 4000, []uint64{1}},
		{"alone", ms, 1, []uint64{1}, 4000, []uint64{1}},
		{"still alone", ms, 2, []uint64{1}, 4000, []uint64{1}},
	})
}

func TestARoundWaitsForNobodyWhereRoundsComeSeldom(t *testing.T) {
	const ms, size = time.Millisecond, 4000
	newRounds(t).play(t, []step{
		{"a round", 0, 0, []uint64{1}, size, []uint64{1}},
		{"is committed", ms, 1, nil, 0, nil},
		{"a block of another node comes later", seldom*ms + 1, 1, []uint64{2}, size, []uint64{2}},
		{"what comes meanwhile", ms / 2, 1, []uint64{1, 3}, size, nil},
		{"waits for the end of the round only", ms / 2, 2, nil, 0, []uint64{1, 3}},
		{"now they come close together", ms, 4, []uint64{1}, size, nil},
		{"so the others are waited for", ms, 4, []uint64{3, 2}, size, []uint64{1, 3, 2}},
	})
}

func TestALongRoundDoesNotKeepTheNextOneWaiting(t *testing.T) {
	newRounds(t).play(t, []step{
		{"a round begins", 0, 0, []uint64{1}, 4000, []uint64{1}},
		{"it is far to the other nodes", gatherFor - 1, 0, []uint64{1}, 4000, nil},
		{"so the next one begins", 1, 0, nil, 0, []uint64{1}},
		{"many bytes do not wait either", 1, 0, []uint64{1, 2}, roundBytes / 2, []uint64{1, 2}},
	})
}
