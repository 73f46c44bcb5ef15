package httpapi_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// revert sends a revert, and gives its reply.
func (s *server) revert(t testing.TB, r wire.RevertRequest) (told wire.Revert) {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	s.send("POST", "/v1/reverts", string(body)).want(t, 200).json(t, &told)
	return told
}

// now is the position of the newest event.
func (s *server) now() string {
	return s.send("GET", "/v1/services", "").Header.Get("Rollcall-Position")
}

func TestARevertTakesBackADrainAndADeregistration(t *testing.T) {
	s := start(t)
	for _, id := range []string{"a-1", "a-2", "a-3"} {
		s.send("PUT", "/v1/services/checkout/instances/"+id, `{"address":"10.0.0.5","owner":"pod-7","version":"7"}`).want(t, 201)
	}
	then := s.now()
	s.send("PUT", a1+"/traffic", `{"traffic":"draining","reason":"cleanup"}`).want(t, 200)
	s.send("DELETE", "/v1/services/checkout/instances/a-2?reason=cleanup", "").want(t, 200)

	dry := s.revert(t, wire.RevertRequest{Service: "checkout", To: then, DryRun: true})
	if dry.Instances != 2 || len(dry.Steps) != 2 || len(dry.LeftAlone)+len(dry.Skipped) != 0 {
		t.Fatalf("the plan is %+v", dry)
	}
	if step := dry.Steps[0]; step.ID != "a-1" || step.Change != "traffic draining -> serving" || step.Reverts.Reason != "cleanup" || step.Reverts.Actor != "anonymous" {
		t.Errorf("the first step is %+v", step)
	}
	if step := dry.Steps[1]; step.ID != "a-2" || step.Change != "registered again" || step.Reverts.Type != "InstanceDeregistered" || step.Command != "RegisterInstance" {
		t.Errorf("the second step is %+v", step)
	}
	s.send("GET", "/v1/services/checkout/instances/a-2", "").want(t, 410) // a dry run changes nothing

	done := s.revert(t, wire.RevertRequest{Service: "checkout", To: then, Reason: "wrong namespace"})
	if done.Instances != 2 || len(done.Steps) != 2 || done.Steps[1].At == nil {
		t.Fatalf("done: %+v", done)
	}
	var back wire.Instance
	s.send("GET", "/v1/services/checkout/instances/a-2", "").want(t, 200).json(t, &back)
	if back.Epoch != 2 || back.Owner != "pod-7" || back.Version != "7" || back.Status != domain.Passing {
		t.Errorf("it came back as %+v", back)
	}
	var page wire.HistoryPage
	s.send("GET", "/v1/services/checkout/instances/a-2/history", "").want(t, 200).json(t, &page)
	if e := page.Entries[0]; e.Reverts != page.Entries[1].EventID.String() || e.Reason != "wrong namespace" ||
		!strings.Contains(e.Summary, "reverts event "+e.Reverts+", because: wrong namespace") {
		t.Errorf("the history says %+v", e)
	}
	if again := s.revert(t, wire.RevertRequest{Service: "checkout", To: then}); again.Instances != 0 || len(again.Steps)+len(again.LeftAlone)+len(again.Skipped) != 0 {
		t.Errorf("the second time it did %+v", again)
	}
}

func TestTheEffectOfAnEventAnActorOrARequestIsTakenBack(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	since := s.now()
	var drained wire.Result
	s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`, "X-Request-Id", "request-of-a-script").want(t, 200).json(t, &drained)
	s.send("PUT", a1+"/health", `{"status":"critical","output":"by the instance"}`).want(t, 200)

	for name, r := range map[string]wire.RevertRequest{
		"event": {Event: drained.Position.String()}, "request": {Request: "request-of-a-script"},
		"actor": {Actor: "anonymous", From: since, Kinds: []string{"traffic"}},
	} {
		r.DryRun = true
		if plan := s.revert(t, r); len(plan.Steps) != 1 || plan.Steps[0].Change != "traffic draining -> serving" || len(plan.LeftAlone) != 0 {
			t.Errorf("the plan for the %s is %+v", name, plan)
		}
	}
	s.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`).want(t, 200)
	plan := s.revert(t, wire.RevertRequest{Event: drained.Position.String()})
	if len(plan.Steps) != 0 || len(plan.LeftAlone) != 1 || plan.LeftAlone[0].Why != "changed" {
		t.Errorf("an effect that is gone: %+v", plan)
	}
}

func TestAnUpdatesMetadataAndChecksAreTakenBackEachByItself(t *testing.T) {
	const was, updated = `{"address":"10.0.0.1","checks":[{"id":"old","kind":"ttl","ttl":"1h"}]}`, `{"address":"10.0.0.2","checks":[{"id":"new","kind":"ttl","ttl":"1h"}]}`
	for name, c := range map[string]struct {
		path, body string // of what changes one of the two later
		change     string // what the revert does
		left       domain.RevertKind
		address    string
		checks     []string
	}{
		"a check was added later":       {a1 + "/checks/later", `{"kind":"ttl","ttl":"1h"}`, "address as before", domain.RevertChecks, "10.0.0.1", []string{"new", "later"}},
		"the address was changed later": {a1, `{"address":"10.0.0.3"}`, "checks as before", domain.RevertMetadata, "10.0.0.3", []string{"old"}},
		"nothing was changed later":     {"", "", "address and checks as before", "", "10.0.0.1", []string{"old"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.send("PUT", a1, was).want(t, 201)
			var update wire.Result
			s.send("PUT", a1, updated).want(t, 200).json(t, &update)
			if c.path != "" {
				s.send("PUT", c.path, c.body).want(t, 200)
			}
			done := s.revert(t, wire.RevertRequest{Event: update.Position.String()})
			if len(done.Steps) != 1 || done.Steps[0].Change != c.change {
				t.Errorf("the steps are %+v", done.Steps)
			}
			switch {
			case c.left == "" && len(done.LeftAlone) == 0:
			case len(done.LeftAlone) != 1 || done.LeftAlone[0].Kind != string(c.left) || done.LeftAlone[0].Why != "changed":
				t.Errorf("left alone are %+v", done.LeftAlone)
			}
			var now wire.Instance
			s.send("GET", a1, "").want(t, 200).json(t, &now)
			var checks []string
			for _, check := range now.Checks {
				checks = append(checks, check.ID)
			}
			if now.Address != c.address || !reflect.DeepEqual(checks, c.checks) {
				t.Errorf("the instance has the address %s and the checks %q", now.Address, checks)
			}
		})
	}
}

func TestARevertOfSeveralEventsKeepsWhatOthersDecidedBetweenThem(t *testing.T) {
	s := start(t)
	const script = "request-of-a-script"
	traffic := func(to string, header ...string) {
		s.send("PUT", a1+"/traffic", `{"traffic":"`+to+`"}`, header...).want(t, 200)
	}
	s.send("PUT", a1, `{"address":"10.0.0.1","owner":"pod-1"}`).want(t, 201)
	traffic("maintenance")
	traffic("serving", "X-Request-Id", script)
	traffic("draining")
	traffic("serving", "X-Request-Id", script)
	plan := s.revert(t, wire.RevertRequest{Request: script, DryRun: true})
	if len(plan.Steps) != 1 || plan.Steps[0].Change != "traffic serving -> draining" {
		t.Errorf("the traffic is to become %+v", plan)
	}

	s.send("DELETE", a1, "", "X-Request-Id", script+"-2").want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.2","owner":"pod-2"}`).want(t, 201)
	s.send("DELETE", a1, "", "X-Request-Id", script+"-2").want(t, 200)
	s.revert(t, wire.RevertRequest{Request: script + "-2"})
	var back wire.Instance
	s.send("GET", a1, "").want(t, 200).json(t, &back)
	if back.Owner != "pod-2" || back.Address != "10.0.0.2" {
		t.Errorf("it came back for %s at %s", back.Owner, back.Address)
	}
}

func TestTheDrainingOfAnEarlierEpochIsNotRestored(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.1"}`).want(t, 201)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`).want(t, 200)
	var served, again wire.Result
	s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`).want(t, 200).json(t, &served)
	s.send("DELETE", a1, "").want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.1"}`).want(t, 201).json(t, &again)

	plan := s.revert(t, wire.RevertRequest{Event: served.Position.String()})
	if len(plan.Steps) != 0 || len(plan.LeftAlone) != 1 || plan.LeftAlone[0].Why != "succeeded" {
		t.Fatalf("the plan is %+v", plan)
	}
	if left := plan.LeftAlone[0]; left.Kind != "traffic" || left.Event == nil || left.Event.Position != again.Position {
		t.Errorf("left alone is %+v, because of %+v", left, left.Event)
	}
}

func TestEachKindThatARevertLeavesAloneIsListed(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.1","owner":"pod-1","checks":[{"id":"old","kind":"ttl","ttl":"1h"}]}`).want(t, 201)
	then := s.now()
	s.send("PUT", a1, `{"address":"10.0.0.2","owner":"pod-2","checks":[{"id":"new","kind":"ttl","ttl":"1h"}]}`).want(t, 201)

	var left []string
	for _, l := range s.revert(t, wire.RevertRequest{To: then}).LeftAlone {
		left = append(left, l.Kind+" "+l.Why)
	}
	if want := []string{"registrations succeeded", "metadata succeeded", "checks succeeded"}; !reflect.DeepEqual(left, want) {
		t.Errorf("left alone are %q, not %q", left, want)
	}
}

func TestARevertLeavesAloneWhatNobodyDecided(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	then := s.now()
	s.send("PUT", a1+"/health", `{"status":"critical"}`).want(t, 200)
	plan := s.revert(t, wire.RevertRequest{To: then})
	if len(plan.Steps) != 0 || len(plan.LeftAlone) != 1 || plan.LeftAlone[0].Why != "reported" {
		t.Errorf("what the instance says: %+v", plan)
	}
	if named := s.revert(t, wire.RevertRequest{To: then, Kinds: []string{"health"}}); len(named.Steps) != 1 || named.Steps[0].Change != "health critical -> passing" {
		t.Errorf("with its kind named: %+v", named)
	}
}

func TestAPlanThatWasLookedAtSkipsWhatChangedSince(t *testing.T) {
	s := start(t)
	other := "/v1/services/checkout/instances/a-2"
	for _, path := range []string{a1, other} {
		s.send("PUT", path, `{"address":"10.0.0.5"}`).want(t, 201)
	}
	then := s.now()
	for _, path := range []string{a1, other} {
		s.send("PUT", path+"/traffic", `{"traffic":"draining"}`).want(t, 200)
	}
	seen := s.revert(t, wire.RevertRequest{To: then, DryRun: true}).Position.String()
	s.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`).want(t, 200)

	nothing := s.revert(t, wire.RevertRequest{To: then, Plan: seen, AllOrNothing: true})
	if nothing.Instances != 0 || len(nothing.Steps) != 0 || len(nothing.Skipped) != 2 {
		t.Errorf("all or nothing did %+v", nothing)
	}
	if before := s.revert(t, wire.RevertRequest{To: then, Plan: "0"}); before.Instances != 0 || len(before.Skipped) != 2 {
		t.Errorf("a plan that was made before all events did %+v", before)
	}
	some := s.revert(t, wire.RevertRequest{To: then, Plan: seen})
	if some.Instances != 1 || len(some.Skipped) != 1 || some.Skipped[0].ID != "a-1" || some.Skipped[0].Why != "changed" || some.Steps[0].ID != "a-2" {
		t.Errorf("the rest: %+v", some)
	}
}

func TestBadRevertsAreRefusedByName(t *testing.T) {
	s := start(t)
	s.send("POST", "/v1/reverts", `{"to":"now"}`).problem(t, 422, "invalid-field", "to") // before the first event
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for body, field := range map[string]string{
		`{}`: "to", `{"to":"tomorrow"}`: "to", `{"to":"2999-01-01T00:00:00Z"}`: "to", `{"to":"2001-01-01T00:00:00Z"}`: "to",
		`{"event":"1","request":"x"}`: "to", `{"event":"1","to":"now"}`: "to", `{"actor":"ann"}`: "from", `{"to":"now","from":"now"}`: "from",
		`{"actor":"nobody-ever","from":"1h ago"}`: "actor", `{"request":"nothing-has-it"}`: "request", `{"event":"999"}`: "event",
		`{"event":"0"}`: "event", `{"event":"01a20ed3-3d15-7604-9a7a-6e8ad00dd3f9"}`: "event", `{"event":"nonsense"}`: "event",
		`{"to":"now","kinds":["leases"]}`: "kinds[0]", `{"to":"now","instance":"a-1"}`: "instance", `{"to":"now","namespace":"*","service":"checkout"}`: "namespace",
		`{"to":"now","namespace":"rollcall-system"}`: "namespace", `{"to":"now","namespace":"never-used"}`: "namespace", `{"to":"now","surprise":1}`: "surprise",
		`{"to":"now","plan":"x"}`: "plan", `{"to":"now","reason":"` + strings.Repeat("x", 1025) + `"}`: "reason",
	} {
		if r := s.send("POST", "/v1/reverts", body); r.StatusCode != 422 || !strings.Contains(string(r.body), `"field":"`+field+`"`) {
			t.Errorf("%s gave %d %s", body, r.StatusCode, r.body)
		}
	}
	s.send("POST", "/v1/reverts", `{"to":"now","service":"never-was"}`).problem(t, 404, "unknown-service", "")
	s.send("POST", "/v1/reverts", `{"to":"now","service":"checkout","instance":"never-was"}`).problem(t, 404, "unknown-instance", "")
}

// state is what a revert can restore of the instances of a namespace, by id and kind.
func (s *server) state(t testing.TB, namespace, at string) map[string]string {
	var all wire.Catalog
	path := "/v1/catalog?ns=" + namespace
	if at != "" {
		path += "&at=" + at
	}
	s.send("GET", path, "").want(t, 200).json(t, &all)
	state := map[string]string{}
	for _, service := range all.Services {
		for _, i := range service.Instances {
			says := i.Status
			if i.Reported != "" {
				says = i.Reported
			}
			var checks []string
			for _, c := range i.Checks {
				checks = append(checks, c.ID+fmt.Sprint(c.TTL))
			}
			state[i.ID+" registrations"] = "registered by " + i.Owner
			state[i.ID+" traffic"] = string(i.Traffic)
			state[i.ID+" health"] = string(says)
			state[i.ID+" checks"] = strings.Join(checks, " ")
			state[i.ID+" metadata"] = i.Address + " " + i.Version + fmt.Sprint(i.Metadata, i.Tags, i.Ports, i.Weight)
		}
	}
	return state
}

// without leaves out what a revert says that it left alone.
func without(state map[string]string, left []wire.RevertLeft) map[string]string {
	kept := map[string]string{}
	for name, value := range state {
		kept[name] = value
	}
	for _, l := range left {
		for _, kind := range domain.RevertKinds() {
			of := l.Kind
			if of == string(domain.RevertRegistrations) || of == string(kind) || of == "metadata" && kind == domain.RevertChecks {
				delete(kept, l.ID+" "+string(kind))
			}
		}
	}
	return kept
}

// A revert of everything since a moment gives the catalog of that moment, up to what it says it left alone. The revert of that
// revert gives back what was before it. Each does nothing the second time.
func TestARevertGivesTheCatalogOfTheMomentAndItsRevertTheOneBefore(t *testing.T) {
	s := start(t)
	cases := 0
	rapid.Check(t, func(t *rapid.T) {
		cases++
		namespace := fmt.Sprintf("n%d", cases)
		change := func() {
			path := fmt.Sprintf("/v1/services/s/instances/%s", rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "instance"))
			in := "?ns=" + namespace
			switch rapid.SampledFrom([]string{"register", "register", "check", "uncheck", "deregister", "traffic", "health"}).Draw(t, "what") {
			case "register":
				s.send("PUT", path+in, fmt.Sprintf(`{"address":"10.0.0.%d","version":"%d","owner":%q,"metadata":{"k":"%d"}}`,
					rapid.IntRange(1, 2).Draw(t, "address"), rapid.IntRange(1, 2).Draw(t, "version"),
					rapid.SampledFrom([]string{"", "one", "two"}).Draw(t, "owner"), rapid.IntRange(1, 2).Draw(t, "value")))
			case "check":
				s.send("PUT", path+"/checks/"+rapid.SampledFrom([]string{"x", "y"}).Draw(t, "check")+in, fmt.Sprintf(`{"kind":"ttl","ttl":"%dm"}`, rapid.IntRange(1, 2).Draw(t, "ttl")))
			case "uncheck":
				s.send("DELETE", path+"/checks/x"+in, "")
			case "deregister":
				s.send("DELETE", path+in, "")
			case "traffic":
				s.send("PUT", path+"/traffic"+in, fmt.Sprintf(`{"traffic":%q}`, rapid.SampledFrom([]string{"serving", "draining", "maintenance"}).Draw(t, "traffic")))
			case "health":
				s.send("PUT", path+"/health"+in, fmt.Sprintf(`{"status":%q,"source":%q}`, rapid.SampledFrom([]string{"passing", "critical"}).Draw(t, "status"),
					rapid.SampledFrom([]string{"client", "operator"}).Draw(t, "source")))
			}
		}
		s.send("PUT", "/v1/services/s/instances/a?ns="+namespace, `{"address":"10.0.0.1"}`)
		for range rapid.IntRange(0, 6).Draw(t, "before") {
			change()
		}
		then := s.now()
		wanted := s.state(s.t, namespace, then)
		for range rapid.IntRange(0, 8).Draw(t, "since") {
			change()
		}
		between, before := s.now(), s.state(s.t, namespace, "")

		for _, to := range []struct {
			moment string
			wanted map[string]string
		}{{then, wanted}, {between, before}} {
			r := wire.RevertRequest{Namespace: namespace, To: to.moment, Kinds: []string{"registrations", "traffic", "health", "checks", "metadata"}}
			done := s.revert(s.t, r)
			if len(done.Skipped) > 0 {
				t.Fatalf("skipped: %+v", done.Skipped)
			}
			if is, want := without(s.state(s.t, namespace, ""), done.LeftAlone), without(to.wanted, done.LeftAlone); !reflect.DeepEqual(is, want) {
				t.Fatalf("it gives\n%v, not\n%v\nleft alone %+v\nsteps %+v", is, want, done.LeftAlone, done.Steps)
			}
			if again := s.revert(s.t, r); again.Instances != 0 {
				t.Fatalf("the second time it did %+v", again.Steps)
			}
		}
	})
}
