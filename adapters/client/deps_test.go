package client_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A program that imports the client gets no server with it.
func TestTheClientImportsNoServer(t *testing.T) {
	const module = "github.com/rollcall-registry/rollcall/"
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	may := []string{
		module + "adapters/client", module + "queries/wire", module + "domain", module + "domain/eventstore",
		"github.com/google/uuid", "github.com/tmaxmax/go-sse", "github.com/tmaxmax/go-sse/internal/parser",
	}
	for _, path := range strings.Fields(string(out)) {
		if !slices.Contains(may, path) {
			t.Errorf("the client imports %s", path)
		}
	}
}
