package probes

import (
	"log/slog"
	"testing"
	"time"
)

// A batch grows with the changes that wait, within bounds, and no change is lost or told twice.
func TestABatchOfReportsGrowsWithTheReportsThatWait(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := New(Options{Mine: Alone("n").Mine, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	const checks = 4000
	for n := range checks {
		p.Set(instanceOf(n), false)
	}
	for _, c := range p.mine {
		p.report(c, critical, "GET /health answered 503", time.Millisecond)
	}
	told := make(map[*check]bool)
	var sizes []int
	for some := p.takeReports(); len(some) > 0; some = p.takeReports() {
		sizes = append(sizes, len(some))
		for _, r := range some {
			if want := instanceOf(int(r.Port)); r.Key != want.Key || r.Address != want.Address {
				t.Fatalf("a report says of %s that it is at %s:%d", r.Key, r.Address, r.Port)
			}
			if told[r.check] {
				t.Fatalf("%s was told twice", r.Key)
			}
			told[r.check] = true
		}
	}
	if len(told) != checks || sizes[0] != reportMany || sizes[len(sizes)-1] > reportFew {
		t.Errorf("%d changes were told in batches of %v", len(told), sizes)
	}
}
