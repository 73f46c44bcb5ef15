package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rollcall-registry/rollcall/"

// allowed says which of our own layers a layer may import, besides itself. Arrows point one way:
// cmd → adapters → commands | queries → projections → domain.
var allowed = map[string][]string{
	"domain":      {},
	"projections": {"domain"},
	"queries":     {"projections", "domain"},
	"commands":    {"projections", "domain"},
	"adapters":    {"commands", "queries", "projections", "domain"},
	"docs":        {"adapters", "queries", "domain"}, // the recipes are programs of users
	"cmd":         {"adapters", "commands", "queries", "projections", "domain", "docs"},
}

// shared are the adapters that other adapters may import.
var shared = []string{"web", "client"}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		from := layer(p.ImportPath)
		may, known := allowed[from]
		if !known {
			t.Errorf("%s is in no known layer", p.ImportPath)
		}
		for _, imported := range p.Imports {
			to := layer(imported)
			switch {
			case to == "" && from == "domain" && strings.Contains(imported, ".") && imported != "github.com/google/uuid":
				if !strings.HasSuffix(p.ImportPath, "eventstoretest") {
					t.Errorf("%s imports %s: the domain knows the standard library and uuid only", p.ImportPath, imported)
				}
			case to != "" && to != from && !slices.Contains(may, to):
				t.Errorf("%s imports %s", p.ImportPath, imported)
			case from == "adapters" && to == "adapters" && adapter(p.ImportPath) != adapter(imported) && !slices.Contains(shared, adapter(imported)):
				t.Errorf("%s imports %s: adapters import of each other only %v", p.ImportPath, imported, shared)
			}
		}
	}
}

func layer(path string) string {
	rest, ours := strings.CutPrefix(path, module)
	if !ours {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func adapter(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, module+"adapters/"), "/")
	return name
}
