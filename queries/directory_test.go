package queries_test

import (
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// What a face made of a service's instances lasts while other services come and go, and no longer than the instances of its name.
func TestAGroupLastsWhileOtherServicesComeAndGo(t *testing.T) {
	r := start(t)
	directory := r.Directory()
	register := func(service, id string) {
		t.Helper()
		r.register(key(service, id), "")
	}
	deregister := func(service, id string) {
		t.Helper()
		r.apply(r.append(eventstore.LifecycleStream(key(service, id)), domain.InstanceDeregistered{Epoch: 1}))
	}
	made := 0
	look := func() (instances int) {
		t.Helper()
		group := directory.Find("default", "web")
		if group == nil {
			return 0
		}
		group.Value("made", func() any { made++; return nil })
		return len(group.Instances())
	}
	for _, step := range []struct {
		what            string
		do              func()
		instances, made int
	}{
		{"at first", func() { register("web", "1") }, 1, 1},
		{"with another service", func() { register("db", "1") }, 1, 1},
		{"without the other service", func() { deregister("db", "1") }, 1, 1},
		{"with another instance", func() { register("web", "2") }, 2, 2},
		{"with the name in other letters", func() { register("Web", "3") }, 3, 3},
		{"without that", func() { deregister("Web", "3") }, 2, 4},
		{"with an instance fewer", func() { deregister("web", "2") }, 1, 5},
	} {
		step.do()
		if instances := look(); instances != step.instances || made != step.made {
			t.Errorf("%s: %d instances, made %d times, want %d and %d", step.what, instances, made, step.instances, step.made)
		}
	}
	deregister("web", "1")
	if directory.Find("default", "web") != nil {
		t.Error("a service without instances is there")
	}
}
