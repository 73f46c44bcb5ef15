package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A caller who may change its own instances only reverts what concerns them. What is another's is skipped.
func TestARevertOfWhoMayChangeItsOwnInstancesOnlyLeavesOthersAlone(t *testing.T) {
	g := startGuarded(t)
	root := g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	own := []domain.RoleGrant{{Verbs: []string{"read-catalog", "read-history", "write-own"}, Namespace: "*", Service: "*"}}
	if err := g.commands.Do(t.Context(), callerOfTests, domain.SetRole{Name: "own", Grants: own}); err != nil {
		t.Fatal(err)
	}
	ann, bob := g.token("ann", domain.TokenSpec{Roles: []string{"own"}}), g.token("bob", domain.TokenSpec{Roles: []string{"own"}})
	reads := g.token("reads", domain.TokenSpec{Roles: []string{"reader"}})
	g.send("PUT", "/v1/services/checkout/instances/anns", `{"address":"10.0.0.5"}`, ann...).want(t, 201)
	g.send("PUT", "/v1/services/checkout/instances/bobs", `{"address":"10.0.0.6"}`, bob...).want(t, 201)
	then := g.send("GET", "/v1/services", "", root...).Header.Get("Rollcall-Position")
	for _, id := range []string{"anns", "bobs"} {
		g.send("DELETE", "/v1/services/checkout/instances/"+id, "", root...).want(t, 200)
	}
	revert := func(who []string, dry bool) (told wire.Revert) {
		t.Helper()
		body, err := json.Marshal(wire.RevertRequest{Service: "checkout", To: then, DryRun: dry, Reason: "wrong one"})
		if err != nil {
			t.Fatal(err)
		}
		g.send("POST", "/v1/reverts", string(body), who...).want(t, 200).json(t, &told)
		return told
	}
	body := `{"service":"checkout","to":"` + then + `"}`
	g.send("POST", "/v1/reverts", body, reads...).problem(t, 403, "forbidden", "")
	if plan := revert(ann, true); plan.Instances != 1 || len(plan.Steps) != 1 || plan.Steps[0].ID != "anns" || len(plan.Skipped) != 1 || plan.Skipped[0].ID != "bobs" || plan.Skipped[0].Why != "not-held" {
		t.Errorf("the plan for ann is %+v", plan)
	}
	if done := revert(ann, false); done.Instances != 1 || len(done.Steps) != 1 || done.Steps[0].ID != "anns" || len(done.Skipped) != 1 || done.Skipped[0].Why != "not-held" {
		t.Errorf("ann did %+v", done)
	}
	var back wire.Instance
	g.send("GET", "/v1/services/checkout/instances/anns", "", root...).want(t, 200).json(t, &back)
	g.send("GET", "/v1/services/checkout/instances/bobs", "", root...).want(t, 410)
	if !strings.HasPrefix(back.Owner, "ann") {
		t.Errorf("it came back for %q", back.Owner)
	}
	if done := revert(root, false); done.Instances != 1 || len(done.Skipped) != 0 {
		t.Errorf("root did %+v", done)
	}
	g.send("GET", "/v1/services/checkout/instances/bobs", "", bob...).want(t, 200).json(t, &back)
	if !strings.HasPrefix(back.Owner, "bob") { // so that its process may renew it
		t.Errorf("it came back for %q", back.Owner)
	}
	g.send("PUT", "/v1/services/checkout/instances/bobs/heartbeat", "", bob...).want(t, 200)
}

// Who may read the history of one namespace only is told that a revert of an event has to name the namespace.
func TestARevertOfAnEventByWhoReadsOneNamespaceNamesIt(t *testing.T) {
	g := startGuarded(t)
	root := g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	shop := g.token("shop", domain.TokenSpec{Roles: []string{"operator", "auditor"}, Namespaces: []domain.Pattern{"shop"}})
	service := g.token("service", domain.TokenSpec{Roles: []string{"service"}})
	g.send("PUT", "/v1/services/checkout/instances/a?ns=shop", `{"address":"10.0.0.5"}`, root...).want(t, 201)
	drained := g.send("PUT", "/v1/services/checkout/instances/a/traffic?ns=shop", `{"traffic":"draining"}`, root...).want(t, 200).Header.Get("Rollcall-Position")
	event := `"event":"` + drained + `","dry_run":true`
	refused := g.send("POST", "/v1/reverts", "{"+event+"}", shop...)
	refused.problem(t, 403, "forbidden", "")
	if !strings.Contains(string(refused.body), "names no namespace") {
		t.Errorf("who reads one namespace is told %s", refused.body)
	}
	g.send("POST", "/v1/reverts", `{"namespace":"shop",`+event+"}", shop...).want(t, 200)
	for _, body := range []string{`{"namespace":"other",` + event + "}", `{"namespace":"*",` + event + "}"} {
		if refused := g.send("POST", "/v1/reverts", body, shop...); strings.Contains(string(refused.body), "names no namespace") {
			t.Errorf("%s is answered with %s", body, refused.body)
		}
	}
	if refused := g.send("POST", "/v1/reverts", "{"+event+"}", service...); strings.Contains(string(refused.body), "names no namespace") {
		t.Errorf("who reads no history is told %s", refused.body)
	}
}

// Neither a plan nor a revert nor its history shows what checks send to their targets, and what comes back sends it again.
func TestARevertShowsNoSecretsOfChecks(t *testing.T) {
	g := startGuarded(t)
	root := g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	const secret = "c2VjcmV0LW9mLWNoZWNr"
	with := func(path string) string {
		return `{"address":"10.0.0.5","ports":{"http":80},"checks":[{"id":"web","kind":"http","url":"http://10.0.0.5` + path + `","headers":{"Authorization":"Bearer ` + secret + `"},"interval":"1h"}]}`
	}
	g.send("PUT", a1, with("/one"), root...).want(t, 201)
	then := g.send("GET", "/v1/services", "", root...).Header.Get("Rollcall-Position")
	g.send("PUT", a1, with("/two"), root...).want(t, 200)
	check := func(what string) {
		t.Helper()
		for _, dry := range []string{"true", "false"} {
			r := g.send("POST", "/v1/reverts", `{"service":"checkout","to":"`+then+`","dry_run":`+dry+`,"reason":"`+what+`"}`, root...).want(t, 200)
			if strings.Contains(string(r.body), secret) || !strings.Contains(string(r.body), `"instances":1`) {
				t.Errorf("%s, dry run %s: %s", what, dry, r.body)
			}
		}
	}
	check("an update")
	g.send("DELETE", a1, "", root...).want(t, 200)
	check("a deregistration")
	readers := g.token("reads", domain.TokenSpec{Roles: []string{"reader"}})
	for _, path := range []string{a1 + "/history", a1} {
		if r := g.send("GET", path, "", readers...); strings.Contains(string(r.body), secret) {
			t.Errorf("%s shows it: %s", path, r.body)
		}
	}
	var back wire.Instance
	g.send("GET", a1, "", root...).want(t, 200).json(t, &back)
	if len(back.Checks) != 1 || !strings.HasSuffix(back.Checks[0].URL, "/one") || back.Checks[0].Headers["Authorization"] != "Bearer "+secret {
		t.Errorf("it came back with %+v", back.Checks)
	}
}
