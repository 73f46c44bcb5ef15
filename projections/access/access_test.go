package access_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/access"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// node is a table that follows a store, and the commands that go with it.
type node struct {
	*access.Table
	*commands.Access
}

func follow(t testing.TB, store eventstore.Store) node {
	t.Helper()
	table, err := access.Open(t.Context(), store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx, store) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return node{table, &commands.Access{Store: store, State: table, Now: func() time.Time { return now }}}
}

var caller = commands.Caller{Actor: domain.LocalActor, Via: "cli"}

func (n node) find(secret string) *access.Bearer {
	hash, ok := commands.HashSecret(secret)
	if !ok {
		return nil
	}
	return n.Find(hash)
}

func TestATokenIsKnownByItsSecretUntilItIsRevoked(t *testing.T) {
	store := eventstoretest.NewMemory()
	n := follow(t, store)
	secret, err := n.Create(t.Context(), caller, "ci", domain.TokenSpec{Roles: []string{"reader"}, Namespaces: []domain.Pattern{"shop"}})
	if err != nil {
		t.Fatal(err)
	}
	b := n.find(secret)
	if b == nil || b.Name != "ci" || !domain.Allow(b.Grants, domain.ReadCatalog, domain.Key{Namespace: "shop"}) || domain.Allow(b.Grants, domain.ReadCatalog, domain.Key{}) {
		t.Fatalf("the bearer is %+v", b)
	}
	if n.find(secret[:len(secret)-1]+"x") != nil || n.find("") != nil {
		t.Error("another secret is a bearer's")
	}
	other := follow(t, store) // another node
	if other.find(secret) == nil {
		t.Error("the other node does not know the token")
	}
	version := other.Version()
	if err := n.Do(t.Context(), caller, domain.RevokeToken{Name: "ci", Reason: "stolen"}); err != nil {
		t.Fatal(err)
	}
	head, err := store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.WaitFor(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	if n.find(secret) != nil || other.find(secret) != nil || other.Version() == version {
		t.Error("a revoked token is a bearer's")
	}
	if len(n.Tokens()) != 0 {
		t.Error("a revoked token is listed")
	}
	if again := follow(t, store); again.find(secret) != nil {
		t.Error("a revoked token is known after a restart")
	}
}

func TestTheOldSecretIsGoodAsLongAsItWasGranted(t *testing.T) {
	n := follow(t, eventstoretest.NewMemory())
	first, err := n.Create(t.Context(), caller, "ci", domain.TokenSpec{Roles: []string{"reader"}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := n.Rotate(t.Context(), caller, "ci", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := n.find(first)
	if old == nil || !old.Admits(now.Add(59*time.Minute), netip.Addr{}) || old.Admits(now.Add(time.Hour), netip.Addr{}) {
		t.Errorf("the old secret: %+v", old)
	}
	if b := n.find(second); b == nil || !b.Admits(now.Add(9000*time.Hour), netip.Addr{}) {
		t.Errorf("the new secret: %+v", b)
	}
	third, err := n.Rotate(t.Context(), caller, "ci", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n.find(first) != nil || n.find(second) != nil || n.find(third) == nil {
		t.Error("a secret that was replaced is good, or the new one is not")
	}
	if err := n.Do(t.Context(), caller, domain.RevokeToken{Name: "ci"}); err != nil || n.find(third) != nil {
		t.Errorf("after the revocation: %v, %v", n.find(third), err)
	}
}

func TestATokenIsBoundToItsTimeAndNetworks(t *testing.T) {
	n := follow(t, eventstoretest.NewMemory())
	spec := domain.TokenSpec{Roles: []string{"reader"}, Networks: []string{"10.0.0.0/8"}, Expires: now.Add(time.Hour)}
	secret, err := n.Create(t.Context(), caller, "ci", spec)
	if err != nil {
		t.Fatal(err)
	}
	b, inside := n.find(secret), netip.MustParseAddr("::ffff:10.1.2.3")
	if !b.Admits(now, inside) || b.Admits(now, netip.MustParseAddr("192.0.2.1")) || b.Admits(now.Add(time.Hour), inside) || b.Admits(now, netip.Addr{}) {
		t.Error("it is admitted where it is not bound to, or not where it is")
	}
	spec.Expires = now
	if _, err := n.Create(t.Context(), caller, "late", spec); err == nil {
		t.Error("a token is made that has expired already")
	}
	b.Used(now)
	if l, _ := n.Token("ci"); !l.LastUsed.Equal(now) {
		t.Errorf("used last %s", l.LastUsed)
	}
}

func TestARoleChangesWhatItsTokensMay(t *testing.T) {
	n := follow(t, eventstoretest.NewMemory())
	set := func(verb string) {
		t.Helper()
		if err := n.Do(t.Context(), caller, domain.SetRole{Name: "own", Grants: []domain.RoleGrant{{Verbs: []string{verb}}}}); err != nil {
			t.Fatal(err)
		}
	}
	set("write")
	secret, err := n.Create(t.Context(), caller, "ci", domain.TokenSpec{Roles: []string{"own"}})
	if err != nil {
		t.Fatal(err)
	}
	set("traffic")
	if b := n.find(secret); domain.Allow(b.Grants, domain.WriteInstances, domain.Key{}) || !domain.Allow(b.Grants, domain.ChangeInstanceTraffic, domain.Key{}) {
		t.Errorf("after the change: %+v", b.Grants)
	}
}

// Two nodes that decide at once agree.
func TestANameIsGivenOnce(t *testing.T) {
	store := eventstoretest.NewMemory()
	a, b := follow(t, store), follow(t, store)
	made := make(chan error, 2)
	for _, n := range []node{a, b} {
		go func() {
			_, err := n.Create(context.Background(), caller, "ci", domain.TokenSpec{Roles: []string{"reader"}})
			made <- err
		}()
	}
	if x, y := <-made, <-made; (x == nil) == (y == nil) {
		t.Errorf("%v, %v; want one token", x, y)
	}
}

func TestAHundredThousandTokensAreSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	store := eventstoretest.NewMemory()
	const tokens = 100_000
	var events []eventstore.EventData
	for i := range tokens {
		name := fmt.Sprint("service-", i)
		e := domain.TokenCreated{Name: name, SHA256: domain.SecretHash{byte(i), byte(i >> 8), byte(i >> 16), 1}, TokenSpec: domain.TokenSpec{
			Description: "of " + name, Roles: []string{"service"}, Namespaces: []domain.Pattern{"default"}, Services: []domain.Pattern{domain.Pattern(name)},
		}}
		data, err := domain.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, eventstore.EventData{Type: e.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)})
	}
	results, err := store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.AccessStream, Expected: eventstore.NoStream(), Events: events})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	table, err := access.Open(t.Context(), store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	size := heap() - before
	t.Logf("%d tokens take %d MB", tokens, size>>20)
	if size > 100_000_000 || len(table.Tokens()) != tokens {
		t.Errorf("%d tokens take %d bytes", len(table.Tokens()), size)
	}
	runtime.KeepAlive(events)
}
