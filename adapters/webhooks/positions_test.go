package webhooks

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

var quiet = slog.New(slog.DiscardHandler)

func at(n int) wire.Position { return wire.Position{Number: eventstore.Position(n)} }

// place is where a webhook goes on after a start with what is saved; -1: where it began.
func place(p *Positions, webhook string) int {
	r, ok := p.take(webhook)
	followed, known := p.followed()
	switch {
	case ok && !r.Idle:
		return int(r.Position.Number)
	case ok && known:
		return int(followed.Number)
	}
	return -1
}

// A webhook w is behind at times, and as far as the follower at others. Wherever the file is cut or a byte of it is
// changed, w goes on at a place that it was at, at or before its last: nothing is passed over.
func TestWhateverIsDamagedNothingIsPassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "webhooks.log")
	p, err := OpenPositions(path, nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]record{}
	save := func(followed int, records ...record) {
		for _, r := range records {
			all[r.Webhook] = r
		}
		p.save(changes{records: records, followed: at(followed), hooks: 2, all: func() (some []record) {
			for _, r := range all {
				some = append(some, r)
			}
			return some
		}}, quiet)
	}
	save(10, record{Webhook: "w", Idle: true}, record{Webhook: "x", Idle: true})
	save(20)
	save(30, record{Webhook: "w", Position: at(24)})
	save(40, record{Webhook: "x", Gone: true})
	save(50, record{Webhook: "w", Position: at(33)})
	save(60, record{Webhook: "w", Idle: true})
	save(70, record{Webhook: "w", Position: at(65)})
	was := map[int]bool{-1: true, 10: true, 20: true, 24: true, 33: true, 40: true, 50: true, 60: true, 65: true}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reopened := func(content []byte) int {
		if err := os.WriteFile(path, content, 0o640); err != nil {
			t.Fatal(err)
		}
		p, err := OpenPositions(path, nil, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return place(p, "w")
	}
	if got := reopened(whole); got != 65 {
		t.Fatalf("it goes on at %d, want 65", got)
	}
	for i := range whole {
		if got := reopened(whole[:i]); !was[got] {
			t.Errorf("cut at %d it goes on at %d, where it never was", i, got)
		}
		changed := append([]byte{}, whole...)
		changed[i] ^= 0x04
		if got := reopened(changed); !was[got] {
			t.Errorf("changed at %d it goes on at %d, where it never was", i, got)
		}
	}
}

func TestTheFileOfPositionsStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "webhooks.log")
	p, err := OpenPositions(path, nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	last := record{}
	for i := range 2000 {
		last = record{Webhook: fmt.Sprint("w", i%3), Position: at(i)}
		p.save(changes{records: []record{last}, followed: at(i), hooks: 3, all: func() []record { return []record{last} }}, quiet)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 100_000 {
		t.Errorf("it has %d bytes, %v", info.Size(), err)
	}
	if p, err = OpenPositions(path, nil, quiet); err != nil || place(p, last.Webhook) != 1999 {
		t.Error("the last place is lost", err)
	}
}
