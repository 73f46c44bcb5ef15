package httpapi_test

import (
	"strings"
	"testing"
)

func TestARegistrationKeepsItsOrigin(t *testing.T) {
	s := start(t)
	const origin = `{"consul":{"Kind":"x","Weights":{"Passing":1,"Warning":2}}}`
	s.send("PUT", a1, `{"address":"10.0.0.5","origin": `+strings.ReplaceAll(origin, ":", " : ")+`}`).want(t, 201)
	var instance struct{ Origin map[string]any }
	r := s.send("GET", a1, "").want(t, 200)
	r.json(t, &instance)
	if !strings.Contains(string(r.body), `"origin":`+origin) {
		t.Errorf("the instance is %s", r.body)
	}
	if again := s.send("PUT", a1, `{"address":"10.0.0.5","origin":`+origin+`}`).want(t, 200); strings.Contains(string(again.body), `"revision":1`) {
		t.Errorf("the same origin is a change: %s", again.body)
	}
	s.send("PUT", a1, `{"address":"10.0.0.5","origin":{"consul":{}}}`).want(t, 200)
	if r := s.send("GET", a1+"/history", "").want(t, 200); !strings.Contains(string(r.body), `"field":"origin"`) {
		t.Errorf("the change is not told: %s", r.body)
	}
	for _, wrong := range []string{`[]`, `"x"`, `1`, `{"a":"` + strings.Repeat("x", 9000) + `"}`} {
		s.send("PUT", a1, `{"address":"10.0.0.5","origin":`+wrong+`}`).problem(t, 422, "invalid-field", "origin")
	}
}
