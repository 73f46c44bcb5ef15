package eventstoretest_test

import (
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func TestMemoryKeepsThePromises(t *testing.T) {
	eventstoretest.Run(t, func(t *testing.T) *eventstoretest.Fixture {
		m := eventstoretest.NewMemory()
		t.Cleanup(func() { _ = m.Close() })
		return &eventstoretest.Fixture{Store: m}
	})
}

func TestAMemoryThatCannotTieKeepsThePromises(t *testing.T) {
	eventstoretest.Run(t, func(t *testing.T) *eventstoretest.Fixture {
		m := eventstoretest.NewMemory()
		m.Untying = true
		t.Cleanup(func() { _ = m.Close() })
		return &eventstoretest.Fixture{Store: m}
	})
}
