package client_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A program that imports the client, or one of the packages below but rollcallgrpc, gets no server and no gRPC with it.
func TestTheClientImportsNoServer(t *testing.T) {
	const module = "github.com/rollcall-registry/rollcall/"
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".", "./watch", "./pick", "./rollcallhttp").Output()
	if err != nil {
		t.Fatal(err)
	}
	may := []string{
		module + "adapters/client/watch", module + "adapters/client/pick", module + "adapters/client/rollcallhttp",
		module + "adapters/client", module + "adapters/client/internal/regular", module + "queries/wire", module + "domain", module + "domain/plain", module + "domain/eventstore",
		"github.com/google/uuid",
	}
	for _, path := range strings.Fields(string(out)) {
		if !slices.Contains(may, path) {
			t.Errorf("the client imports %s", path)
		}
	}
}
