package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// around says which adapter is built around another one.
var around = map[string]string{"raftstore": "pebblestore"}

// moduleRoot is the folder of the module, seen from this package.
const moduleRoot = "../.."

// restricted says what else of our own some packages may import, by prefix, apart from what allowed says of their layer.
var restricted = map[string][]string{
	"queries/wire":    {"domain"},
	"adapters/client": {"queries/wire", "domain", "adapters/client/internal"},
}

// foreign says which packages of others some packages must not import.
var foreign = map[string][]string{
	"queries":         {"net/http", "github.com/labstack/echo"},
	"commands":        {"net/http", "github.com/labstack/echo"},
	"adapters/client": {"github.com/labstack/echo", "github.com/cockroachdb/pebble", "github.com/ThreeDotsLabs/watermill"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// name is the package's folder within the module.
func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// goPackages are all packages of the module.
func goPackages(t *testing.T) (all []goPackage) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range goPackages(t) {
		from := layer(p.ImportPath)
		may, known := allowed[from]
		if !known {
			t.Errorf("%s is in no known layer", p.ImportPath)
		}
		for _, imported := range p.Imports {
			to := layer(imported)
			switch {
			case to == "" && from == "domain" && thirdParty(imported) && imported != "github.com/google/uuid":
				if !strings.HasSuffix(p.ImportPath, "eventstoretest") {
					t.Errorf("%s imports %s: the domain knows the standard library and uuid only", p.ImportPath, imported)
				}
			case to != "" && to != from && !slices.Contains(may, to):
				t.Errorf("%s imports %s", p.ImportPath, imported)
			case from == "adapters" && to == "adapters" && adapter(p.ImportPath) != adapter(imported) && !slices.Contains(shared, adapter(imported)) && around[adapter(p.ImportPath)] != adapter(imported):
				t.Errorf("%s imports %s: adapters import of each other only %v, and %v", p.ImportPath, imported, shared, around)
			}
		}
	}
}

func TestTheDoorAndItsFormsKnowNoServer(t *testing.T) {
	for _, p := range goPackages(t) {
		for _, imported := range p.Imports {
			if may, ok := restricted[p.name()]; ok && layer(imported) != "" && !within(strings.TrimPrefix(imported, module), may) {
				t.Errorf("%s imports %s: of ours it may import %v", p.name(), imported, may)
			}
			if within(imported, foreign[p.name()]) {
				t.Errorf("%s imports %s", p.name(), imported)
			}
			if p.name() == "queries/wire" && thirdParty(imported) && imported != "github.com/google/uuid" && layer(imported) == "" {
				t.Errorf("queries/wire imports %s: it knows the domain, the standard library and uuid only", imported)
			}
		}
	}
}

// within says whether a path is one of the folders or lies in one of them.
func within(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") })
}

// thirdParty says whether an imported path is not the standard library's.
func thirdParty(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

var adrNumber = regexp.MustCompile(`ADR (\d{3})`)

func TestEveryPackageStandsInTheArchitecturesTable(t *testing.T) {
	listed := map[string]bool{}
	for line := range strings.Lines(readText(t, "docs/architecture.md")) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if row, isRow := strings.CutPrefix(line, "| `"); isRow {
			name, _, _ := strings.Cut(row, "`")
			listed[name] = true
		}
	}
	for _, p := range goPackages(t) {
		if !listed[p.name()] {
			t.Errorf("docs/architecture.md does not tell of %s", p.name())
		}
		delete(listed, p.name())
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		t.Errorf("docs/architecture.md tells of %s, which is no package", name)
	}
}

// Every decision has a number of its own, and a text that refers to a decision by its number finds it.
func TestDecisionsHaveUniqueNumbers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(moduleRoot, "docs/adr/*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d decisions: %v", len(files), err)
	}
	byNumber := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		number, _, _ := strings.Cut(name, "-")
		if len(number) != 3 || strings.Trim(number, "0123456789") != "" {
			t.Errorf("docs/adr/%s has no number", name)
			continue
		}
		if other, twice := byNumber[number]; twice {
			t.Errorf("docs/adr/%s has the number of %s", name, other)
		}
		byNumber[number] = name
		if title := "# " + strings.TrimLeft(number, "0") + ". "; !strings.HasPrefix(readText(t, "docs/adr/"+name), title) {
			t.Errorf("docs/adr/%s does not begin with %q", name, title)
		}
	}
	err = filepath.WalkDir(moduleRoot, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if extension := filepath.Ext(path); entry.IsDir() || extension != ".go" && extension != ".md" && extension != ".yaml" {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range adrNumber.FindAllStringSubmatch(string(text), -1) {
			if byNumber[found[1]] == "" {
				t.Errorf("%s refers to ADR %s, which does not exist", path, found[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
