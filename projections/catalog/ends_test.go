package catalog

import (
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The ends of more namespaces than are remembered are told as later ones, never as earlier ones.
func TestTheEndsOfManyNamespacesNeverFall(t *testing.T) {
	c := New()
	c.SavedAt(7)
	if got := c.EndedIn("never"); got != 7 {
		t.Errorf("before the first end: %d", got)
	}
	const namespaces = 3 * maxEnds
	for n := range eventstore.Position(namespaces) {
		c.ends.note(fmt.Sprint(n), 8+n)
		if got := c.EndedIn(fmt.Sprint(n)); got != 8+n {
			t.Fatalf("namespace %d ended at %d", n, got)
		}
	}
	for n := range eventstore.Position(namespaces) {
		if got := c.EndedIn(fmt.Sprint(n)); got < 8+n {
			t.Fatalf("namespace %d fell to %d", n, got)
		}
	}
	if got := len(c.ends.newest); got > maxEnds {
		t.Errorf("%d namespaces are remembered", got)
	}
}
