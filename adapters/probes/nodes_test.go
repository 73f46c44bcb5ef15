package probes

import (
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestOnlyTheInstancesOfANodeThatComesOrGoesChangeHands(t *testing.T) {
	nodes := []string{"n1", "n2", "n3"}
	owned := map[string]int{}
	for n := range 3000 {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", n)}
		owner := Owner(nodes, key)
		owned[owner]++
		if other := Owner([]string{"n3", "n1", "n2"}, key); other != owner {
			t.Fatalf("%s is %s's or %s's, by the order of the nodes", key, owner, other)
		}
		if without := Owner([]string{"n1", "n3"}, key); owner != "n2" && without != owner {
			t.Errorf("%s goes from %s to %s although %s is alive", key, owner, without, owner)
		}
		if with := Owner([]string{"n1", "n2", "n3", "n4"}, key); with != owner && with != "n4" {
			t.Errorf("%s goes from %s to %s when n4 comes", key, owner, with)
		}
	}
	for _, node := range nodes {
		if owned[node] < 850 || owned[node] > 1150 {
			t.Errorf("%s has %d of 3000 instances", node, owned[node])
		}
	}
	if owner := Owner(nil, domain.Key{}); owner != "" {
		t.Errorf("without nodes the owner is %q", owner)
	}
}

// Nodes of different versions must agree on the owner.
func TestTheOwnerIsTheSameInEveryVersion(t *testing.T) {
	for id, want := range map[string]string{"a": "n2", "b": "n1", "c": "n3", "d": "n3", "e": "n2"} {
		if got := Owner([]string{"n1", "n2", "n3"}, domain.Key{Namespace: "default", Service: "web", ID: id}); got != want {
			t.Errorf("%s is %s's, was %s's", id, got, want)
		}
	}
}

func TestTargetsAreThoseOfTheCheckOrOfAPortOfTheInstance(t *testing.T) {
	ports := map[string]uint16{"grpc": 9000}
	for _, c := range []struct {
		check domain.Check
		want  string
	}{
		{domain.Check{Kind: domain.CheckHTTP, URL: "http://10.0.0.5:8080/health?full=1"}, "http 10.0.0.5:8080 /health?full=1 false"},
		{domain.Check{Kind: domain.CheckHTTP, URL: "https://[FD00::5]"}, "http fd00::5:443 / true"},
		{domain.Check{Kind: domain.CheckHTTP, URL: "http://Web.test"}, "http web.test:80 / false"},
		{domain.Check{Kind: domain.CheckGRPC, Port: "grpc", GRPCService: "checkout"}, "grpc 10.0.0.5:9000 checkout false"},
		{domain.Check{Kind: domain.CheckTCP, Target: "[fd00::6]:5432", TLS: true}, "tcp fd00::6:5432  true"},
		{domain.Check{Kind: domain.CheckTCP, Port: "other"}, "tcp 10.0.0.5:0  false"},
		{domain.Check{Kind: domain.CheckTTL}, ""},
	} {
		target, ok := TargetOf(c.check, "10.0.0.5", ports)
		got := fmt.Sprintf("%s %s:%d %s %v", target.Kind, target.Host, target.Port, target.Path, target.TLS)
		if ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%+v: %q, %v", c.check, got, ok)
		}
		if target.Extra != nil {
			t.Errorf("%+v: a plain check has %+v", c.check, target.Extra)
		}
	}
}
