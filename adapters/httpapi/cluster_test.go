package httpapi_test

import (
	"context"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// fakeCluster is a cluster without nodes.
type fakeCluster struct {
	members domain.Members
	leader  string
	by      string // actor and reason of the newest change
}

func (f *fakeCluster) Add(_ context.Context, caller commands.Caller, m domain.Member, reason string) error {
	if err := m.Validate(); err != nil {
		return err
	}
	f.members, f.by = f.members.After(domain.MemberAdded{Member: m}), caller.Actor+" "+reason
	return nil
}

func (f *fakeCluster) Remove(_ context.Context, caller commands.Caller, id, reason string) error {
	m, ok := f.members.Find(id)
	switch {
	case !ok:
		return domain.UnknownMember{ID: id}
	case len(f.members) == 1:
		return domain.MemberRefused{Why: id}
	case id == "n1":
		return domain.MemberRefused{Why: id}
	}
	f.members, f.by = f.members.After(domain.MemberRemoved{Member: m}), caller.Actor+" "+reason
	return nil
}

func (f *fakeCluster) Transfer(_ context.Context, id string) error {
	f.leader = id
	return nil
}

func (f *fakeCluster) status() wire.ClusterStatus {
	s := wire.ClusterStatus{Node: "n1", Role: wire.Follower, Term: 7, Leader: f.leader, Members: []wire.MemberStatus{}}
	for _, m := range f.members {
		s.Members = append(s.Members, wire.MemberStatus{Member: m, Role: wire.Follower})
	}
	return s
}

func TestMembersAreAddedAndRemovedOverHTTP(t *testing.T) {
	cluster := &fakeCluster{members: domain.Members{{ID: "n1", Address: "a:1"}}, leader: "n1"}
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.ClusterCommands, c.Queries.Node.Cluster = cluster, cluster.status
	})
	var status wire.ClusterStatus
	s.send("GET", "/v1/cluster", "").want(t, 200).json(t, &status)
	if status.Node != "n1" || len(status.Members) != 1 || status.Term != 7 {
		t.Errorf("%+v", status)
	}
	s.send("DELETE", "/v1/cluster/members/n1", "").problem(t, 409, "member-refused", "")
	s.send("POST", "/v1/cluster/members", `{"id":"n2","address":"b:1","reason":"a second"}`).want(t, 200).json(t, &status)
	if len(status.Members) != 2 || cluster.by != "anonymous a second" {
		t.Errorf("%+v by %q", status, cluster.by)
	}
	s.send("POST", "/v1/cluster/members", `{"id":"n2","address":"b"}`).problem(t, 422, "invalid-field", "address")
	s.send("POST", "/v1/cluster/members", `{"id":"n2","adress":"b"}`).problem(t, 422, "invalid-field", "adress")
	s.send("PUT", "/v1/cluster/leader", `{"id":"n2"}`).want(t, 200).json(t, &status)
	if status.Leader != "n2" {
		t.Errorf("%+v", status)
	}
	s.send("DELETE", "/v1/cluster/members/n9", "").problem(t, 404, "unknown-member", "")
	s.send("DELETE", "/v1/cluster/members/n1", "").problem(t, 409, "member-refused", "")
	s.send("DELETE", "/v1/cluster/members/n2?reason=broken", "").want(t, 200)
	if cluster.by != "anonymous broken" || len(cluster.members) != 1 {
		t.Errorf("%+v by %q", cluster.members, cluster.by)
	}
	var node wire.Status
	s.send("GET", "/v1/status", "").want(t, 200).json(t, &node)
	if node.Cluster == nil || node.Cluster.Leader != "n2" {
		t.Errorf("the status has %+v", node.Cluster)
	}
}

func TestARegistryThatIsNoClusterSaysSo(t *testing.T) {
	s := start(t)
	for _, route := range [][3]string{
		{"GET", "/v1/cluster", ""}, {"POST", "/v1/cluster/members", `{"id":"n2","address":"b:1"}`}, {"DELETE", "/v1/cluster/members/n2", ""}, {"PUT", "/v1/cluster/leader", `{}`},
	} {
		s.send(route[0], route[1], route[2]).problem(t, 404, "no-cluster", "")
	}
}
