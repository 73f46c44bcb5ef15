package httpapi_test

import (
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// What is left alone only because it changed after the plan that was looked at is skipped, of every kind: all or nothing is nothing then.
func TestWhatChangedAfterThePlanIsSkippedAndNotLeftAlone(t *testing.T) {
	const script = "request-of-a-script"
	for name, change := range map[string]func(s *server){
		"metadata":     func(s *server) { s.send("PUT", a1, `{"address":"10.0.0.9","version":"3"}`).want(t, 200) },
		"traffic":      func(s *server) { s.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`).want(t, 200) },
		"deregistered": func(s *server) { s.send("DELETE", a1, "").want(t, 200) },
		"another epoch": func(s *server) {
			s.send("DELETE", a1, "").want(t, 200)
			s.send("PUT", a1, `{"address":"10.0.0.9"}`).want(t, 201)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			other := "/v1/services/checkout/instances/a-2"
			for _, path := range []string{a1, other} {
				s.send("PUT", path, `{"address":"10.0.0.5","version":"1"}`).want(t, 201)
				s.send("PUT", path, `{"address":"10.0.0.5","version":"2"}`, "X-Request-Id", script).want(t, 200)
				s.send("PUT", path+"/traffic", `{"traffic":"draining"}`, "X-Request-Id", script).want(t, 200)
			}
			plan := s.revert(t, wire.RevertRequest{Request: script, DryRun: true})
			if len(plan.Steps) != 4 {
				t.Fatalf("the plan is %+v", plan)
			}
			change(s)
			nothing := s.revert(t, wire.RevertRequest{Request: script, Plan: plan.Position.String(), AllOrNothing: true})
			if len(nothing.Steps) != 0 || len(nothing.Skipped) == 0 {
				t.Errorf("all or nothing did %+v", nothing)
			}
			var still wire.Instance
			if s.send("GET", other, "").want(t, 200).json(t, &still); still.Version != "2" || still.Traffic != domain.Draining {
				t.Errorf("the other instance is %+v", still)
			}
			rest := s.revert(t, wire.RevertRequest{Request: script, Plan: plan.Position.String()})
			if rest.Instances != 1 || len(rest.Steps) != 2 || rest.Steps[0].ID != "a-2" {
				t.Errorf("the rest is %+v", rest)
			}
		})
	}
}

// What was left alone when the plan was looked at does not keep the rest from being done later.
func TestWhatThePlanLeftAloneIsNotSkipped(t *testing.T) {
	s := start(t)
	const script = "request-of-a-script"
	other := "/v1/services/checkout/instances/a-2"
	for _, path := range []string{a1, other} {
		s.send("PUT", path, `{"address":"10.0.0.5"}`).want(t, 201)
		s.send("PUT", path+"/traffic", `{"traffic":"draining"}`, "X-Request-Id", script).want(t, 200)
	}
	s.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`).want(t, 200)
	plan := s.revert(t, wire.RevertRequest{Request: script, DryRun: true})
	if len(plan.Steps) != 1 || len(plan.LeftAlone) != 1 || plan.LeftAlone[0].Why != "changed" {
		t.Fatalf("the plan is %+v", plan)
	}
	s.send("PUT", a1+"/health", `{"status":"warning"}`).want(t, 200)
	done := s.revert(t, wire.RevertRequest{Request: script, Plan: plan.Position.String(), AllOrNothing: true})
	if done.Instances != 1 || len(done.Skipped) != 0 || len(done.LeftAlone) != 1 {
		t.Errorf("done: %+v", done)
	}
}

// Nothing comes back with a registration that is left alone: a dry run must not plan for what is gone.
func TestAnInstanceThatOthersTookOutSinceDoesNotGetItsTrafficBack(t *testing.T) {
	s := start(t)
	const script = "request-of-a-script"
	s.send("PUT", a1, `{"address":"10.0.0.1"}`).want(t, 201)
	s.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`).want(t, 200)
	s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`, "X-Request-Id", script).want(t, 200)
	s.send("DELETE", a1, "", "X-Request-Id", script).want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.1"}`).want(t, 201)
	s.send("DELETE", a1, "").want(t, 200)
	for _, dry := range []bool{true, false} {
		told := s.revert(t, wire.RevertRequest{Request: script, DryRun: dry})
		if len(told.Steps)+len(told.Skipped) != 0 || len(told.LeftAlone) != 1 || told.LeftAlone[0].Kind != "registrations" || told.LeftAlone[0].Why != "changed" {
			t.Errorf("dry run %v: %+v", dry, told)
		}
	}
}
