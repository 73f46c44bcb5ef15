package web

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func limitsAt(c *clock, requests, heartbeats, bytes float64) *Limits {
	return NewLimits(map[Limit]float64{Requests: requests, Heartbeats: heartbeats, Bytes: bytes}, nil, c.now)
}

// used is how many of a limit an account gives at once, up to a thousand.
func used(a Account, limit Limit) (n int) {
	for n < 1000 && a.Take(limit) == nil {
		n++
	}
	return n
}

func TestACallerMayUseTwoSecondsWorthAndThenItsRate(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	l := limitsAt(c, 10, 50, 0)
	a := l.Account(nil, "192.0.2.7:1")
	if n := used(a, Requests); n != 20 {
		t.Errorf("%d requests pass at once", n)
	}
	if n := used(a, Heartbeats); n != 100 {
		t.Errorf("%d heartbeats pass at once", n)
	}
	err := a.Take(Requests)
	var exceeded LimitExceeded
	if !errors.As(err, &exceeded) || exceeded.Limit != Requests || exceeded.PerSecond != 10 || exceeded.After <= 0 || exceeded.After > 100*time.Millisecond || exceeded.retryAfter() != "1" {
		t.Errorf("the refusal is %#v", err)
	}
	c.at = c.at.Add(time.Second)
	if n := used(a, Requests); n != 10 {
		t.Errorf("%d requests pass a second later", n)
	}
}

func TestWhatIsGivenBackMayBeTakenOnce(t *testing.T) {
	l := limitsAt(&clock{time.Unix(1000, 0)}, 10, 50, 0)
	a, other := l.Account(nil, "192.0.2.7:1"), l.Account(nil, "192.0.2.7:2")
	if n := used(a, Requests); n != 20 {
		t.Fatalf("%d requests pass at once", n)
	}
	a.GiveBack(Requests)
	a.GiveBack(Requests)
	if n := used(other, Heartbeats); n != 100 {
		t.Errorf("%d heartbeats pass", n)
	}
	if n := used(other, Requests); n != 2 {
		t.Errorf("%d requests pass after two were given back", n)
	}
	none := Account{}
	none.GiveBack(Requests)
}

// The server answers, and counts, what the lane does not send because other large replies are under way.
func TestALargeReplyThatDoesNotBeginIsNotCounted(t *testing.T) {
	l, o := limitsAt(&clock{time.Unix(1000, 0)}, 10, 50, 300), NewOutgoing(1000)
	a, b := l.Account(nil, "192.0.2.7:1"), l.Account(nil, "192.0.2.8:1")
	var first, second LaneReply
	first.Of(o, make([]byte, 700), &b)
	if err := b.Take(Requests); err != nil || !first.Begin(func() {}) {
		t.Fatal("the first reply does not begin", err)
	}
	var exceeded LimitExceeded
	if err := b.Take(Requests); !errors.As(err, &exceeded) || exceeded.Limit != Bytes {
		t.Errorf("after 700 bytes: %v", err)
	}
	second.Of(o, make([]byte, 700), &a)
	if err := a.Take(Requests); err != nil || second.Begin(func() {}) {
		t.Fatal("the second reply begins beside the first", err)
	}
	if n := used(a, Requests); n != 20 {
		t.Errorf("%d requests pass after a reply that did not begin", n)
	}
	first.End()
	if second.Of(o, make([]byte, 700), &a); !second.Begin(func() {}) {
		t.Error("the second reply does not begin after the first")
	}
}

func TestWhatARequestCostMoreIsOwed(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	l := limitsAt(c, 10, 50, 1000)
	a := l.Account(nil, "192.0.2.7:1")
	a.Charge(Requests, 50) // 30 are owed
	var exceeded LimitExceeded
	if err := a.Take(Requests); !errors.As(err, &exceeded) || exceeded.retryAfter() != "4" {
		t.Errorf("the refusal is %v", err)
	}
	c.at = c.at.Add(4 * time.Second)
	if n := used(a, Requests); n != 10 {
		t.Errorf("%d requests pass when it is paid", n)
	}
	a.Charge(Bytes, 1<<40) // no more than 10 s are owed
	if err := a.Take(Requests); !errors.As(err, &exceeded) || exceeded.Limit != Bytes || exceeded.retryAfter() != "11" {
		t.Errorf("the refusal is %v", err)
	}
	if a.Take(Heartbeats) != nil {
		t.Error("a heartbeat is refused for bytes")
	}
}

func TestCallersAreTokensAddressesAndNetworksOfIPv6(t *testing.T) {
	token := func(name string) *Identity { return &Identity{Name: name} }
	nobody := &Identity{Name: domain.Anonymous}
	for _, same := range [][2]callerCase{
		{{token("a"), "192.0.2.7:1"}, {token("a"), "192.0.2.8:1"}},
		{{nobody, "192.0.2.7:1"}, {nil, "192.0.2.7:2"}},
		{{nobody, "192.0.2.7:1"}, {nobody, "[::ffff:192.0.2.7]:2"}},
		{{nobody, "[2001:db8::1]:1"}, {nobody, "2001:db8::ffff:1"}},
		{{nobody, "_hidden"}, {nobody, "_hidden"}},
		{{nobody, "unknown"}, {nil, "unknown"}},
	} {
		if a, b := same[0].name(t), same[1].name(t); a != b {
			t.Errorf("%v and %v are two callers", a, b)
		}
	}
	for _, different := range [][2]callerCase{
		{{token("a"), "192.0.2.7:1"}, {token("b"), "192.0.2.7:1"}},
		{{token("_hidden"), "192.0.2.7:1"}, {nobody, "_hidden"}},
		{{nobody, "192.0.2.7:1"}, {nobody, "192.0.2.8:1"}},
		{{nobody, "[2001:db8::1]:1"}, {nobody, "[2001:db8:0:1::1]:1"}},
		{{nobody, "_a"}, {nobody, "_b"}},
	} {
		if a, b := different[0].name(t), different[1].name(t); a == b {
			t.Errorf("%v and %v are one caller", different[0], different[1])
		}
	}
	c := &clock{time.Unix(1000, 0)}
	if n := used(limitsAt(c, 1, 1, 1).Account(local, "@"), Requests); n != 1000 {
		t.Errorf("the socket's user may send %d requests", n)
	}
	if n := used((*Limits)(nil).Account(nobody, "192.0.2.7:1"), Requests); n != 1000 || limitsAt(c, 0, 0, 0) != nil {
		t.Errorf("without limits %d requests pass", n)
	}
}

type callerCase struct {
	who    *Identity
	source string
}

func (c callerCase) name(t *testing.T) callerName {
	t.Helper()
	name, ok := nameOf(c.who, c.source)
	if !ok {
		t.Errorf("%v has no limits", c)
	}
	return name
}

// All connections of a caller share one account, also when it was forgotten between two requests.
func TestConnectionsOfACallerShareItsAccount(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	l := limitsAt(c, 10, 0, 0)
	a, b := l.Account(nil, "192.0.2.7:1"), l.Account(nil, "192.0.2.7:2")
	for range 5 {
		if n := used(a, Requests); n != 20 {
			t.Errorf("%d requests pass", n)
		}
		if n := used(b, Requests); n != 0 {
			t.Errorf("%d more requests pass on another connection", n)
		}
		c.at = c.at.Add(forgetAfter) // others make the table forget
		other := l.Account(nil, "198.51.100.1:1")
		other.current()
	}
}

func TestAMillionAddressesLeaveNothing(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	l := limitsAt(c, 10, 10, 1000)
	address := netip.MustParseAddr("10.0.0.0")
	for range 1_000_000 {
		a := l.Account(nil, address.String())
		if err := a.Take(Requests); err != nil {
			t.Fatal(err)
		}
		address = address.Next()
	}
	if n := len(l.callers) + len(l.before); n > 2*maxCallers {
		t.Errorf("%d callers are remembered", n)
	}
	for range 2 {
		c.at = c.at.Add(forgetAfter)
		a := l.Account(nil, "192.0.2.7:1")
		a.current()
	}
	if n := len(l.callers) + len(l.before); n > 2 {
		t.Errorf("%d callers are remembered after a pause", n)
	}
	runtime.KeepAlive(l)
}

func BenchmarkTake(b *testing.B) {
	l := NewLimits(map[Limit]float64{Requests: 1e9, Heartbeats: 1e9, Bytes: 1e12}, nil, time.Now)
	a := l.Account(nil, "192.0.2.7:1")
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Take(Heartbeats); err != nil {
			b.Fatal(fmt.Sprint(err))
		}
	}
}
