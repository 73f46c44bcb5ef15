package consul_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestFiltersPickByEveryFieldOfConsul(t *testing.T) {
	r := start(t)
	for _, body := range []string{
		`{"Name":"web","ID":"native","Port":80,"Tags":["a b","v1"],"Meta":{"k-1":"v"},"Connect":{"Native":true},"Weights":{"Passing":3,"Warning":1}}`,
		`{"Name":"web","ID":"side","Kind":"connect-proxy","Port":81,"Proxy":{"DestinationServiceName":"db","LocalServicePort":5432,"Mode":"direct","Config":{"x":[1,{"y":2}]}}}`,
		`{"Name":"web","ID":"plain","Port":82}`,
	} {
		if resp := r.send("PUT", "/v1/agent/service/register", body); resp.StatusCode != 200 {
			t.Fatalf("%s: %d", body, resp.StatusCode)
		}
	}
	for filter, want := range map[string]string{
		"Service.Connect.Native == true": "native", "Service.Connect.Native != true": "plain side", "not Service.Connect.Native == true": "plain side",
		"Service.Proxy.DestinationServiceName == db": "side", "Service.Proxy.LocalServicePort == 5432": "side", `Service.Proxy.MeshGateway.Mode == "" and Service.Proxy.Mode == direct`: "side",
		`Service.Meta["k-1"] == v`: "native", "`a b` in Service.Tags": "native", `"v1" not in Service.Tags`: "plain side", "Service.Weights.Passing == 3": "native",
		`Service.Kind == "connect-proxy" or Service.Port == 82`: "plain side", `Service.ID not matches "^(native|side)$"`: "plain", "Checks is empty": "native plain side",
	} {
		var entries []struct{ Service struct{ ID string } }
		r.get("/v1/health/service/web?filter="+url.QueryEscape(filter), &entries)
		var ids []string
		for _, e := range entries {
			ids = append(ids, e.Service.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s picks %q, want %q", filter, got, want)
		}
	}
	var rows []struct {
		ServiceID                    string
		ServiceProxy, ServiceConnect json.RawMessage
	}
	r.get("/v1/catalog/service/web?filter="+url.QueryEscape("ServiceConnect.Native == true or ServiceProxy.Mode == direct"), &rows)
	if len(rows) != 2 || string(rows[0].ServiceConnect) != `{"Native":true}` || string(rows[0].ServiceProxy) != "{}" ||
		string(rows[1].ServiceProxy) != `{"Config":{"x":[1,{"y":2}]},"DestinationServiceName":"db","LocalServicePort":5432,"Mode":"direct"}` {
		t.Errorf("the catalog has %+v", rows)
	}
	if resp := r.send("PUT", "/v1/agent/service/register", `{"Name":"Consul-Node"}`); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the name of nodes in other letters gives %d", resp.StatusCode)
	}
}

// The parser of filters takes sixteen times as long for each pair of parentheses within others.
func TestAFilterOfManyParenthesesIsRefused(t *testing.T) {
	r := start(t)
	ask := func(filter string) int {
		return r.send("GET", "/v1/health/service/web?filter="+url.QueryEscape(filter), "").StatusCode
	}
	for _, n := range []int{20, 1000} {
		for _, filter := range []string{
			strings.Repeat("(", n), strings.Repeat("(", n) + "Node.Node == a" + strings.Repeat(")", n), strings.Repeat("not (", n) + "Node.Node == a" + strings.Repeat(")", n),
		} {
			if got := ask(filter); got != http.StatusBadRequest {
				t.Errorf("%d parentheses give %d", n, got)
			}
		}
	}
	if got := ask(`((Node.Node == a or (Service.Service == "web")) and not (Node.Node == b))`); got != http.StatusOK {
		t.Errorf("a usual filter gives %d", got)
	}
}
