package consul_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const anID, otherID = "5a7d0c3e-0000-4000-8000-00000000000a", "5a7d0c3e-0000-4000-8000-00000000000b"

// nodes says which nodes there are, with their ids and addresses, and which services are at them.
func (r *rig) nodes() string {
	r.t.Helper()
	var nodes []struct{ ID, Node, Address string }
	r.get("/v1/catalog/nodes", &nodes)
	var all []string
	for _, n := range nodes {
		var at struct{ Services []struct{ ID string } }
		r.get("/v1/catalog/node-services/"+n.Node, &at)
		text := n.Node + " " + n.Address
		if n.ID == anID || n.ID == otherID {
			text += " " + n.ID[len(n.ID)-1:]
		}
		slices.SortFunc(at.Services, func(a, b struct{ ID string }) int { return strings.Compare(a.ID, b.ID) })
		for _, s := range at.Services {
			text += " " + s.ID
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// In Consul a node that registers with its id under another name is renamed: the old name ends, with all that is at it.
func TestANodeThatRegistersUnderAnotherNameIsRenamed(t *testing.T) {
	for name, second := range map[string]string{
		"with a service":          `,"Service":{"ID":"a","Service":"web","Port":80}`,
		"alone":                   ``,
		"with a check":            `,"Check":{"CheckID":"host","Status":"passing"}`,
		"with both":               `,"Service":{"ID":"a","Service":"web","Port":80},"Check":{"CheckID":"host","Status":"passing"}`,
		"with the id in capitals": `,"Service":{"ID":"a","Service":"web","Port":80}`,
	} {
		for _, kept := range []string{"", `,"Check":{"CheckID":"host","Status":"critical"}`} {
			t.Run(fmt.Sprint(name, kept != ""), func(t *testing.T) {
				r := start(t)
				register := func(id, node, rest string) {
					t.Helper()
					r.put("/v1/catalog/register", `{"ID":"`+id+`","Node":"`+node+`","Address":"10.0.0.1"`+rest+`}`)
				}
				register(anID, "old", `,"Service":{"ID":"a","Service":"web","Port":80}`+kept)
				register(anID, "old", `,"Service":{"ID":"b","Service":"db","Port":80}`)
				register(otherID, "beside", `,"Service":{"ID":"c","Service":"db","Port":80}`)
				id := anID
				if name == "with the id in capitals" {
					id = strings.ToUpper(id)
				}
				register(id, "new", second)
				want := "new 10.0.0.1"
				if id == anID {
					want += " a"
				}
				if strings.Contains(second, "Service") {
					want += " a"
				}
				if got := r.nodes(); got != "beside 10.0.0.1 b c; "+want {
					t.Errorf("there are %s, want the new name in place of the old one: %s", got, want)
				}
				if got := r.checks("/v1/health/node/old"); got != "" {
					t.Errorf("the old name has the checks %s", got)
				}
				register(id, "new", second)
				if got := r.nodes(); got != "beside 10.0.0.1 b c; "+want {
					t.Errorf("after the same again there are %s", got)
				}
			})
		}
	}
}

// A node that gossip says is alive keeps its name.
func TestANameOfANodeThatIsAliveIsReserved(t *testing.T) {
	r := start(t)
	body := func(id, node, status string) string {
		return `{"ID":"` + id + `","Node":"` + node + `","Address":"10.0.0.1","Check":{"CheckID":"serfHealth","Status":"` + status + `"}}`
	}
	r.put("/v1/catalog/register", body(anID, "one", "passing"))
	r.put("/v1/catalog/register", body(otherID, "two", "passing"))
	before := r.nodes()
	got := r.send("PUT", "/v1/catalog/register", body(anID, "two", "passing"))
	if got.StatusCode != 500 || !strings.Contains(got.body, "Node name two is reserved by node "+otherID) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if after := r.nodes(); after != before {
		t.Errorf("afterwards there are %s", after)
	}
	r.put("/v1/catalog/register", body(otherID, "two", "critical"))
	r.put("/v1/catalog/register", body(anID, "two", "passing"))
	if got := r.nodes(); got != "two 10.0.0.1 a" {
		t.Errorf("in the end there are %s", got)
	}
}

// What the newest registration says of a node counts for all that is at it, and case makes no other node.
func TestANodeIsTheSameForAllThatIsAtIt(t *testing.T) {
	r := start(t)
	r.put("/v1/catalog/register", `{"ID":"`+anID+`","Node":"esm","Address":"10.0.0.1","Service":{"ID":"a","Service":"web"}}`)
	r.put("/v1/catalog/register", `{"Node":"ESM","Address":"10.0.0.1","Service":{"ID":"b","Service":"web"}}`)
	if got := r.nodes(); got != "esm 10.0.0.1 a a b" {
		t.Errorf("there are %s", got)
	}
	r.put("/v1/catalog/register", `{"Node":"esm","Address":"10.0.0.2","NodeMeta":{"k":"v"},"Service":{"ID":"c","Service":"db"}}`)
	var entries []entry
	r.get("/v1/health/service/web", &entries)
	for _, e := range entries {
		if e.Node.Address != "10.0.0.2" || e.Node.Meta["k"] != "v" || e.Node.ID != anID {
			t.Errorf("%+v", e.Node)
		}
	}
	r.put("/v1/catalog/register", `{"Node":"esm","Address":"10.0.0.3","SkipNodeUpdate":true,"Service":{"ID":"d","Service":"db"}}`)
	if got := r.nodes(); got != "esm 10.0.0.2 a a b c d" {
		t.Errorf("there are %s", got)
	}
	for _, key := range []string{"web/a", "web/b", "db/c", "db/d"} {
		service, id, _ := strings.Cut(key, "/")
		if got := r.native(service, id).Details.Address; got != "10.0.0.2" {
			t.Errorf("other faces see %s at %s", key, got)
		}
	}
	r.put("/v1/catalog/register", `{"Node":"esm","Address":"10.0.0.4","Service":{"ID":"e","Service":"db","Address":"10.9.9.9"}}`)
	if a, e := r.native("web", "a").Details.Address, r.native("db", "e").Details.Address; a != "10.0.0.4" || e != "10.9.9.9" {
		t.Errorf("other faces see a at %s, and e at %s", a, e)
	}
}

func TestOneIDOfACheckIsOneCheckOfARegistration(t *testing.T) {
	r := start(t)
	r.put("/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Service":{"Service":"web"},"Checks":[{"CheckID":"c","ServiceID":"web","Status":"critical"}],"Check":{"Node":"N","CheckID":"c","ServiceID":"web","Status":"passing"}}`)
	if got := r.says("/v1/health/service/web"); got != "web c=passing" {
		t.Errorf("there is %s", got)
	}
	got := r.send("PUT", "/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Check":{"Node":"other","CheckID":"c","Status":"passing"}}`)
	if got.StatusCode != 500 || got.body != `check node "other" does not match node "n"` {
		t.Errorf("a check of another node: %d %s", got.StatusCode, got.body)
	}
	for _, id := range []string{"none", "{" + anID + "}", "urn:uuid:" + anID, strings.ReplaceAll(anID, "-", "")} {
		if got := r.send("PUT", "/v1/catalog/register", `{"ID":"`+id+`","Node":"n","Address":"10.0.0.1"}`); got.StatusCode != 500 || !strings.HasPrefix(got.body, "Bad node ID") {
			t.Errorf("%s: %d %s", id, got.StatusCode, got.body)
		}
	}
}
