package domain_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

var n1, n2, n3 = domain.Member{ID: "n1", Address: "a:1"}, domain.Member{ID: "n2", Address: "b:1"}, domain.Member{ID: "n3", Address: "c:1"}

func TestMembersAreWhatTheEventsTell(t *testing.T) {
	moved := domain.Member{ID: "n2", Address: "d:1"}
	for name, c := range map[string]struct {
		events []domain.Event
		want   domain.Members
	}{
		"nothing":         {nil, nil},
		"another event":   {[]domain.Event{domain.ListeningInterrupted{}}, nil},
		"started":         {[]domain.Event{domain.ClusterStarted{Members: []domain.Member{n2, n1}}}, domain.Members{n1, n2}},
		"added":           {[]domain.Event{domain.ClusterStarted{Members: []domain.Member{n2}}, domain.MemberAdded{Member: n1}}, domain.Members{n1, n2}},
		"added again":     {[]domain.Event{domain.ClusterStarted{Members: []domain.Member{n2}}, domain.MemberAdded{Member: moved}}, domain.Members{moved}},
		"removed":         {[]domain.Event{domain.ClusterStarted{Members: []domain.Member{n2, n1}}, domain.MemberRemoved{Member: n1}}, domain.Members{n2}},
		"removed nothing": {[]domain.Event{domain.ClusterStarted{Members: []domain.Member{n2}}, domain.MemberRemoved{Member: n1}}, domain.Members{n2}},
		"recovered":       {[]domain.Event{domain.ClusterStarted{Members: []domain.Member{n1, n2, n3}}, domain.ClusterRecovered{Member: n3, Lost: []domain.Member{n1, n2}}}, domain.Members{n3}},
	} {
		var got domain.Members
		for _, e := range c.events {
			got = got.After(e)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestChangesOfMembersFoldToTheMembers(t *testing.T) {
	member := rapid.Custom(func(t *rapid.T) domain.Member {
		return domain.Member{ID: rapid.SampledFrom([]string{"n1", "n2", "n3", "n4"}).Draw(t, "id"), Address: rapid.SampledFrom([]string{"a:1", "b:1"}).Draw(t, "address")}
	})
	members := rapid.SliceOfNDistinct(member, 1, 4, func(m domain.Member) string { return m.ID })
	rapid.Check(t, func(t *rapid.T) {
		before := domain.Members(nil).After(domain.ClusterStarted{Members: members.Draw(t, "before")})
		want := domain.Members(nil).After(domain.ClusterStarted{Members: members.Draw(t, "after")})
		got := before
		events := before.Changes(want, "")
		for _, e := range events {
			got = got.After(e)
		}
		if !reflect.DeepEqual(got, want) || reflect.DeepEqual(before, want) && len(events) > 0 {
			t.Fatalf("%v and %v fold to %v, want %v", before, events, got, want)
		}
	})
}

func TestMembersHaveANameForCertificatesAndAnAddress(t *testing.T) {
	for member, ok := range map[domain.Member]bool{
		{ID: "n1", Address: "10.0.0.1:7950"}: true, {ID: "n1", Address: "[::1]:7950"}: true, {ID: "node-1", Address: "a.example:1"}: true,
		{ID: "", Address: "a:1"}: false, {ID: "N1", Address: "a:1"}: false, {ID: "n.1", Address: "a:1"}: false, {ID: "n1", Address: ""}: false,
		{ID: "n1", Address: "a"}: false, {ID: "n1", Address: ":1"}: false, {ID: "n1", Address: "a:"}: false, {ID: "n1", Address: "a:0"}: false, {ID: "n1", Address: "a:70000"}: false,
	} {
		if err := member.Validate(); (err == nil) != ok {
			t.Errorf("%+v: %v", member, err)
		}
	}
}
