package dns

import (
	"net/netip"
	"testing"
	"time"
)

func TestRepliesToOneNetworkAreLimited(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := newLimiter(10, func() time.Time { return now })
	count := func(from string, n int) (got [3]int) {
		for range n {
			got[l.take(netip.MustParseAddr(from))]++
		}
		return got
	}
	if got := count("192.0.2.1", 10); got != [3]int{10, 0, 0} {
		t.Errorf("the first ten: %v", got)
	}
	if got := count("192.0.2.77", 10); got != [3]int{0, 5, 5} {
		t.Errorf("ten more from the same network: %v", got)
	}
	if got := count("198.51.100.1", 10); got != [3]int{10, 0, 0} {
		t.Errorf("another network: %v", got)
	}
	now = now.Add(500 * time.Millisecond)
	if got := count("192.0.2.9", 10); got != [3]int{5, 3, 2} && got != [3]int{5, 2, 3} {
		t.Errorf("half a second later: %v", got)
	}
	if got := count("2001:db8:0:12::1", 11); got[allowed] != 10 {
		t.Errorf("a network of IPv6: %v", got)
	}
	if got := count("2001:db8:0:34::1", 1); got[allowed] != 0 {
		t.Errorf("the same network of IPv6: %v", got)
	}
}
