package raftstore

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// appendMessage is raft's request to write entries of term 1, and a state; term 0: none.
func appendMessage(term, vote, commit uint64, entries ...uint64) *raftpb.Message {
	m := &raftpb.Message{Type: raftpb.MsgStorageAppend.Enum(), Responses: []*raftpb.Message{{Type: raftpb.MsgAppResp.Enum()}}}
	for _, index := range entries {
		m.Entries = append(m.Entries, &raftpb.Entry{Index: new(index), Term: new(uint64(1)), Data: []byte("data")})
	}
	if term != 0 {
		m.Term, m.Vote, m.Commit = new(term), new(vote), new(commit)
	}
	return m
}

// After a power failure the log has every entry and vote that was confirmed. How far it is committed may be older.
func TestALogHasEntriesAndVotesAfterAPowerFailure(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, err := openLog("log", fs, 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	e := newEngine(&Store{log: l, started: time.Now()})
	for _, step := range []struct {
		what                              string
		message                           *raftpb.Message
		last, term, vote, atMost, atLeast uint64 // what the log has, and how far it is committed
	}{
		{"the first entries", appendMessage(1, 7, 0, 1, 2), 2, 1, 7, 0, 0},
		{"the entries are committed", appendMessage(1, 7, 2), 2, 1, 7, 2, 0},
		{"an entry without a state", appendMessage(0, 0, 0, 3), 3, 1, 7, 2, 2},
		{"the entry is committed", appendMessage(1, 7, 3), 3, 1, 7, 3, 2},
		{"a vote", appendMessage(2, 8, 3), 3, 2, 8, 3, 3},
		{"another entry in the place of one", appendMessage(2, 8, 3, 3), 3, 2, 8, 3, 3},
	} {
		if err := e.write([]*raftpb.Message{step.message}); err != nil {
			t.Fatal(err)
		}
		crashed, err := openLog("log", fs.CrashClone(vfs.CrashCloneCfg{}), 1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s := crashed.state
		if crashed.last != step.last || s.GetTerm() != step.term || s.GetVote() != step.vote || s.GetCommit() > step.atMost || s.GetCommit() < step.atLeast {
			t.Errorf("after %s the log ends at entry %d and has the state %v", step.what, crashed.last, s)
		}
		if err := crashed.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A node confirms to each other node what it has, once in a moment.
func TestANodeRepeatsAConfirmationAfterAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(&Store{log: &diskLog{identity: identity{ID: 1}}, started: time.Now(), config: Config{Tick: 50 * time.Millisecond}})
		confirm := func(to, term, index uint64) *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), To: new(to), Term: new(term), Index: new(index)}
		}
		refusal := confirm(2, 1, 5)
		refusal.Reject = new(true)
		for _, step := range []struct {
			what    string
			after   time.Duration
			message *raftpb.Message
			repeats bool
		}{
			{"the first confirmation", 0, confirm(2, 1, 5), false},
			{"the same one at once", 0, confirm(2, 1, 5), true},
			{"the same one to another node", 0, confirm(3, 1, 5), false},
			{"a later entry", 0, confirm(2, 1, 6), false},
			{"the same entry in another term", 0, confirm(2, 2, 6), false},
			{"a refusal", 0, refusal, false},
			{"what the node tells itself", 0, confirm(1, 2, 6), false},
			{"what the node tells itself once more", 0, confirm(1, 2, 6), false},
			{"the same one after a while", 26 * time.Millisecond, confirm(2, 2, 6), false},
			{"the same one at once again", 0, confirm(2, 2, 6), true},
		} {
			time.Sleep(step.after)
			if got := e.confirms(step.message); got != step.repeats {
				t.Errorf("%s repeats: %v", step.what, got)
			}
		}
	})
}

// What only tells how far the log is committed wakes nobody. A sync, or an answer for which another node may wait, does not wait.
func TestOnlyHowFarTheLogIsCommittedWaitsForTheNextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(&Store{log: &diskLog{identity: identity{ID: 1}}, started: time.Now(), config: Config{Tick: 50 * time.Millisecond}})
		message := func(term, vote, commit uint64, entries int, responses ...*raftpb.Message) *raftpb.Message {
			m := &raftpb.Message{Type: raftpb.MsgStorageAppend.Enum(), Term: new(term), Vote: new(vote), Commit: new(commit), Responses: responses}
			for i := range entries {
				m.Entries = append(m.Entries, &raftpb.Entry{Index: new(uint64(i + 1)), Term: new(term)})
			}
			return m
		}
		confirm := &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), To: new(uint64(2)), Term: new(uint64(3)), Index: new(uint64(7))}
		own := &raftpb.Message{Type: raftpb.MsgStorageAppendResp.Enum(), To: new(uint64(1)), Term: new(uint64(3))}
		snapshot := message(3, 2, 7, 0)
		snapshot.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(9)), Term: new(uint64(3))}}
		for _, step := range []struct {
			what    string
			message *raftpb.Message
			sent    bool // confirm was sent before
			waits   bool
		}{
			{"a term", message(3, 0, 5, 0), false, false},
			{"a later commit", message(3, 0, 6, 0), false, true},
			{"a vote", message(3, 2, 6, 0), false, false},
			{"an entry", message(3, 2, 6, 1), false, false},
			{"a snapshot", snapshot, false, false},
			{"a commit, and what another node has to be told", message(3, 2, 7, 0, confirm), false, false},
			{"a commit, and what another node was told", message(3, 2, 8, 0, confirm), true, true},
			{"a commit, and what raft waits for", message(3, 2, 9, 0, own), false, false},
			{"what another node was told, and what raft waits for", message(3, 2, 9, 0, confirm, own), false, false},
		} {
			if step.sent {
				e.confirms(confirm)
			}
			if got := e.waits(step.message); got != step.waits {
				t.Errorf("%s waits: %v", step.what, got)
			}
		}
	})
}
