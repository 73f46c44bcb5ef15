package domain_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestAllow(t *testing.T) {
	shop := []domain.Grant{{Verbs: domain.ReadCatalog | domain.WriteInstances, Namespace: "shop", Service: "pay*", Instance: "web-*"}}
	all := []domain.Grant{{Verbs: domain.AllVerbs, Namespace: "*", Service: "*", Instance: "*"}}
	for name, c := range map[string]struct {
		grants []domain.Grant
		verb   domain.Verb
		key    domain.Key
		want   bool
	}{
		"nothing is granted":                   {nil, domain.ReadCatalog, domain.Key{Namespace: "shop"}, false},
		"a service of the pattern":             {shop, domain.ReadCatalog, domain.Key{Namespace: "shop", Service: "payments"}, true},
		"the pattern's beginning":              {shop, domain.ReadCatalog, domain.Key{Namespace: "shop", Service: "pay"}, true},
		"another service":                      {shop, domain.ReadCatalog, domain.Key{Namespace: "shop", Service: "web"}, false},
		"another namespace":                    {shop, domain.ReadCatalog, domain.Key{Namespace: "shop2", Service: "pay"}, false},
		"all services":                         {shop, domain.ReadCatalog, domain.Key{Namespace: "shop"}, false},
		"a verb that is not granted":           {shop, domain.ReadHistory, domain.Key{Namespace: "shop", Service: "pay"}, false},
		"an id of the pattern":                 {shop, domain.WriteInstances, domain.Key{Namespace: "shop", Service: "pay", ID: "web-1"}, true},
		"another id":                           {shop, domain.WriteInstances, domain.Key{Namespace: "shop", Service: "pay", ID: "db-1"}, false},
		"reading is not bound to ids":          {shop, domain.ReadCatalog, domain.Key{Namespace: "shop", Service: "pay", ID: "db-1"}, true},
		"the whole registry":                   {all, domain.Operate, domain.Key{}, true},
		"the whole registry, of one namespace": {shop, domain.ReadCatalog, domain.Key{}, false},
		"an empty pattern picks nothing":       {[]domain.Grant{{Verbs: domain.AllVerbs}}, domain.ReadCatalog, domain.Key{}, false},
		"either of two verbs":                  {shop, domain.WriteInstances | domain.WriteOwn, domain.Key{Namespace: "shop", Service: "pay", ID: "web-1"}, true},
	} {
		if got := domain.Allow(c.grants, c.verb, c.key); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

var (
	somePattern = rapid.SampledFrom([]domain.Pattern{"*", "a", "a*", "ab", "ab*", "b*", "abc", "c"})
	someName    = rapid.SampledFrom([]string{"", "a", "ab", "abc", "b", "bc", "c"})
	someGrant   = rapid.Custom(func(t *rapid.T) domain.Grant {
		return domain.Grant{
			Verbs:     domain.Verb(rapid.Uint16Range(0, uint16(domain.AllVerbs)).Draw(t, "verbs")),
			Namespace: somePattern.Draw(t, "namespace"), Service: somePattern.Draw(t, "service"), Instance: somePattern.Draw(t, "instance"),
		}
	})
)

func TestAnotherGrantNeverTakesARightAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(someGrant, 0, 4).Draw(t, "before")
		more := rapid.SliceOfN(someGrant, 0, 4).Draw(t, "more")
		verb := rapid.SampledFrom(domain.Verbs()).Draw(t, "verb")
		key := domain.Key{Namespace: someName.Draw(t, "namespace"), Service: someName.Draw(t, "service"), ID: someName.Draw(t, "id")}
		if domain.Allow(before, verb, key) && !(domain.Allow(append(before[:len(before):len(before)], more...), verb, key) && domain.Allow(append(more[:len(more):len(more)], before...), verb, key)) {
			t.Fatalf("%s on %s is taken away from %v by %v", verb, key, before, more)
		}
	})
}

// What is bound never grants more than what is not.
func TestABoundTokenMayWhatItsRolesAndItsBoundsAllow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var access domain.Access
		access.Apply(domain.RoleSet{Name: "own", Grants: []domain.RoleGrant{{Verbs: domain.AllVerbs.Names(), Namespace: somePattern.Draw(t, "namespace"), Service: somePattern.Draw(t, "service")}}})
		bound := domain.TokenSpec{Roles: []string{"own"}, Namespaces: rapid.SliceOfN(somePattern, 1, 3).Draw(t, "namespaces"), Services: rapid.SliceOfN(somePattern, 1, 3).Draw(t, "services")}
		key := domain.Key{Namespace: someName.Draw(t, "ns"), Service: someName.Draw(t, "svc"), ID: "a"}
		matches := func(patterns []domain.Pattern, name string) bool {
			for _, p := range patterns {
				if p.Match(name) {
					return true
				}
			}
			return false
		}
		want := domain.Allow(access.Grants(domain.TokenSpec{Roles: []string{"own"}}), domain.WriteInstances, key) &&
			matches(bound.Namespaces, key.Namespace) && matches(bound.Services, key.Service)
		if got := domain.Allow(access.Grants(bound), domain.WriteInstances, key); got != want {
			t.Fatalf("%v on %s: %v, want %v", bound, key, got, want)
		}
	})
}

func TestAHolderHoldsItsOwners(t *testing.T) {
	for owner, want := range map[string]bool{"checkout": true, "checkout:pod-7": true, "checkout2": false, "check": false, "": false, "checkout-x:1": false} {
		if got := domain.Holds("checkout", owner); got != want {
			t.Errorf("%q: %v", owner, got)
		}
	}
}

func TestEachNameIsAHolderOfItsOwn(t *testing.T) {
	for name, want := range map[string]string{
		"checkout":                          "checkout",
		"spiffe://prod.example/ns/a/sa/b":   "spiffe=~~prod.example~ns~a~sa~b",
		"k8s:system:serviceaccount:shop:go": "k8s=system=serviceaccount=shop=go",
		"ci:a~b=c!é d":                      "ci=a!7eb!3dc!21!c3!a9!20d",
	} {
		if got := domain.HolderNamed(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		someText := rapid.StringMatching(`[a:/~=!]{1,6}`)
		a, b, owner := someText.Draw(t, "a"), someText.Draw(t, "b"), rapid.StringMatching(`[a:~=!0-9f]{1,12}`).Draw(t, "owner")
		if a != b && domain.Holds(domain.HolderNamed(a), owner) && domain.Holds(domain.HolderNamed(b), owner) {
			t.Fatalf("%q belongs to %q and to %q", owner, a, b)
		}
		if a != b && domain.Holds(domain.HolderNamed(a), domain.HolderNamed(b)) {
			t.Fatalf("%q holds what %q registered", a, b)
		}
	})
}

func TestAHolderReachesOnlyWhatItRegistered(t *testing.T) {
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	live := domain.Instance{Key: key, Phase: domain.Registered, Epoch: 1, Owner: "billing", Status: domain.Passing, Events: 1}
	for name, c := range map[string]domain.Command{
		"register":   domain.RegisterInstance{Key: key, Owner: "web", Holder: "web"},
		"heartbeat":  domain.SendHeartbeat{Key: key, Holder: "web"},
		"health":     domain.ReportHealth{Key: key, Holder: "web", Status: domain.Critical},
		"traffic":    domain.ChangeTraffic{Key: key, Holder: "web", Traffic: domain.Draining},
		"deregister": domain.DeregisterInstance{Key: key, Holder: "web"},
	} {
		if events, err := domain.Decide(live, c); err != (domain.NotHeld{Key: key, Holder: "web"}) {
			t.Errorf("%s: %v, %v", name, events, err)
		}
	}
	live.Owner = "web:pod-1"
	if events, err := domain.Decide(live, domain.RegisterInstance{Key: key, Owner: "web:pod-2", Holder: "web"}); err != nil || len(events) != 1 {
		t.Errorf("its own: %v, %v", events, err)
	}
	if _, err := domain.Decide(live, domain.ChangeTraffic{Key: key, Holder: "web", Traffic: domain.Maintenance}); err == nil {
		t.Error("a holder puts its instance into maintenance, which is an operator's decision")
	}
	live.Traffic, live.Maintenance = domain.Maintenance, &domain.InMaintenance{}
	if _, err := domain.Decide(live, domain.ChangeTraffic{Key: key, Holder: "web", Traffic: domain.Serving}); err == nil {
		t.Error("a holder ends an operator's maintenance")
	}
}

func TestTokensAndRoles(t *testing.T) {
	ci := domain.TokenCreated{Name: "ci", TokenSpec: domain.TokenSpec{Roles: []string{"reader"}}, SHA256: domain.SecretHash{1}}
	own := domain.RoleSet{Name: "own", Grants: []domain.RoleGrant{{Verbs: []string{"write"}, Namespace: "shop", Service: "*"}}}
	later := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		given   []domain.Event
		command domain.AccessCommand
		want    domain.Event
		refused bool
	}{
		"a token":                  {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}}, Secret: domain.SecretHash{1}}, ci, false},
		"a name twice":             {[]domain.Event{ci}, domain.CreateToken{Name: "ci", Spec: ci.TokenSpec}, nil, true},
		"a name of a revoked one":  {[]domain.Event{ci, domain.TokenRevoked{Name: "ci"}}, domain.CreateToken{Name: "ci", Spec: ci.TokenSpec}, nil, true},
		"a role that is not there": {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"own"}}}, nil, true},
		"no role":                  {nil, domain.CreateToken{Name: "ci"}, nil, true},
		"a reserved name":          {nil, domain.CreateToken{Name: "anonymous", Spec: ci.TokenSpec}, nil, true},
		"a name with a colon":      {nil, domain.CreateToken{Name: "a:b", Spec: ci.TokenSpec}, nil, true},
		"a pattern that is none":   {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Services: []domain.Pattern{"a*b"}}}, nil, true},
		"a namespace none has":     {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Namespaces: []domain.Pattern{"Prod*"}}}, nil, true},
		"a service none has":       {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Services: []domain.Pattern{"pay-"}}}, nil, true},
		"an id none has":           {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Instances: []domain.Pattern{"a/*"}}}, nil, true},
		"a role for nobody":        {nil, domain.SetRole{Name: "own", Grants: []domain.RoleGrant{{Verbs: []string{"write"}, Namespace: "a.b"}}}, nil, true},
		"a network that is none":   {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Networks: []string{"10.0.0.1"}}}, nil, true},
		"only in no namespace":     {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Namespaces: []domain.Pattern{}}}, nil, true},
		"only no service":          {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Services: []domain.Pattern{}}}, nil, true},
		"only no instance":         {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Instances: []domain.Pattern{}}}, nil, true},
		"from no network":          {nil, domain.CreateToken{Name: "ci", Spec: domain.TokenSpec{Roles: []string{"reader"}, Networks: []string{}}}, nil, true},
		"rotated":                  {[]domain.Event{ci}, domain.RotateToken{Name: "ci", Secret: domain.SecretHash{2}, OldUntil: later}, domain.TokenRotated{Name: "ci", SHA256: domain.SecretHash{2}, OldUntil: later}, false},
		"revoked":                  {[]domain.Event{ci}, domain.RevokeToken{Name: "ci", Reason: "stolen"}, domain.TokenRevoked{Name: "ci", Reason: "stolen"}, false},
		"revoked twice":            {[]domain.Event{ci, domain.TokenRevoked{Name: "ci"}}, domain.RevokeToken{Name: "ci"}, nil, false},
		"revoked twice, too long":  {[]domain.Event{ci, domain.TokenRevoked{Name: "ci"}}, domain.RevokeToken{Name: "ci", Reason: strings.Repeat("x", domain.MaxReason+1)}, nil, true},
		"a revoked one rotated":    {[]domain.Event{ci, domain.TokenRevoked{Name: "ci"}}, domain.RotateToken{Name: "ci"}, nil, true},
		"an unknown one revoked":   {nil, domain.RevokeToken{Name: "ci"}, nil, true},
		"a role":                   {nil, domain.SetRole{Name: "own", Grants: []domain.RoleGrant{{Verbs: []string{"write"}, Namespace: "shop"}}}, own, false},
		"the same role":            {[]domain.Event{own}, domain.SetRole{Name: "own", Grants: own.Grants}, nil, false},
		"a built-in role":          {nil, domain.SetRole{Name: "admin", Grants: own.Grants}, nil, true},
		"an unknown verb":          {nil, domain.SetRole{Name: "own", Grants: []domain.RoleGrant{{Verbs: []string{"fly"}}}}, nil, true},
		"a role removed":           {[]domain.Event{own}, domain.RemoveRole{Name: "own"}, domain.RoleRemoved{Name: "own"}, false},
		"a role that a token has":  {[]domain.Event{own, domain.TokenCreated{Name: "ci", TokenSpec: domain.TokenSpec{Roles: []string{"own"}}}}, domain.RemoveRole{Name: "own"}, nil, true},
		"an unknown role removed":  {nil, domain.RemoveRole{Name: "own"}, nil, true},
		"a built-in role removed":  {nil, domain.RemoveRole{Name: "admin"}, nil, true},
	} {
		var access domain.Access
		for _, e := range c.given {
			access.Apply(e)
		}
		got, err := access.Decide(c.command)
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err == nil && !sameEvent(t, got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func sameEvent(t *testing.T, a, b domain.Event) bool {
	t.Helper()
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	x, errA := domain.Encode(a)
	y, errB := domain.Encode(b)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	return a.EventType() == b.EventType() && string(x) == string(y)
}

func BenchmarkAllow(b *testing.B) {
	grants := []domain.Grant{
		{Verbs: domain.ReadCatalog, Namespace: "shop", Service: "*", Instance: "*"},
		{Verbs: domain.WriteOwn, Namespace: "shop", Service: "pay*", Instance: "*"},
	}
	key := domain.Key{Namespace: "shop", Service: "payments", ID: "web-1"}
	b.ReportAllocs()
	for b.Loop() {
		if !domain.Allow(grants, domain.WriteOwn, key) {
			b.Fatal("refused")
		}
	}
}
