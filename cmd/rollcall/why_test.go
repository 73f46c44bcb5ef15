package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// told is what why tells of entries, the newest first.
func told(now time.Time, entries ...wire.HistoryEntry) string {
	var b strings.Builder
	for i := range entries {
		entries[i].Namespace, entries[i].Service, entries[i].ID = "default", "web", "a"
	}
	explain(&b, wire.HistoryPage{Entries: entries}, now)
	return b.String()
}

// A lease that lapsed to critical has lapsed long before the instance is removed: why does not call the removal an expiry.
func TestWhyTellsARemovalFromAnExpiry(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	removed := told(now, wire.HistoryEntry{
		RecordedAt: now, Type: domain.TypeLeaseExpired, Summary: "removed: no heartbeat since the lease lapsed at 2026-03-01T11:50:00Z, and remove_after is 10 m",
	})
	if !strings.Contains(removed, "is gone: it was removed at") || !strings.Contains(removed, "Why:  no heartbeat since the lease lapsed") || strings.Contains(removed, "expired") {
		t.Errorf("a removal is told as\n%s", removed)
	}
	expired := told(now, wire.HistoryEntry{RecordedAt: now, Type: domain.TypeLeaseExpired, Summary: "lease expired: last heartbeat 31 s before, ttl 30 s"})
	if !strings.Contains(expired, "is gone: its lease expired at") || !strings.Contains(expired, "Why:  lease expired: last heartbeat") {
		t.Errorf("an expiry is told as\n%s", expired)
	}
}

// A flapping check may have changed more often than is looked at, so why does not tell a number that is too small.
func TestWhySaysThatAFlappingCheckChangedAtLeastSoOften(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var entries []wire.HistoryEntry
	for i := range 8 {
		data, err := json.Marshal(domain.CheckChanged{Epoch: 1, Check: "http", Kind: domain.CheckHTTP, From: domain.Passing, To: domain.Critical})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, wire.HistoryEntry{RecordedAt: now.Add(-time.Duration(i) * time.Second), Type: domain.TypeCheckChanged, Summary: "check http changed", Data: data})
	}
	if got := told(now, entries...); !strings.Contains(got, "Check http is flapping: it changed at least 6 times within 10 m.") {
		t.Errorf("why tells\n%s", got)
	}
	if got := told(now.Add(time.Hour), entries...); strings.Contains(got, "flapping") {
		t.Errorf("an hour after the last change why tells\n%s", got)
	}
}

func TestATableShowsTheBeginningOfALongOutput(t *testing.T) {
	short, long := "GET /health answered 200", strings.Repeat("ü", 4096)
	if outputInTable(short) != short {
		t.Errorf("a short output became %q", outputInTable(short))
	}
	if got := []rune(outputInTable(long)); len(got) != 121 || got[119] != 'ü' || got[120] != '…' {
		t.Errorf("a long output became %d characters", len(got))
	}
	if exact := strings.Repeat("x", 120); outputInTable(exact) != exact {
		t.Error("an output that fits is cut")
	}
}
