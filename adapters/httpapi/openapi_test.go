package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/docs/api"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// operation is one that the description has.
type operation struct {
	*v3.Operation
	name       string              // METHOD /path/{parameter}
	parameters map[string][]string // the names of each place: query, path, header
	problems   []string
	statuses   []int
}

// described are the operations of the description, by METHOD /path/:parameter, as the router names them.
var described = sync.OnceValue(func() map[string]operation {
	document, err := libopenapi.NewDocument(api.OpenAPI)
	if err != nil {
		panic(err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		panic(err)
	}
	all := map[string]operation{}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, o := range item.GetOperations().FromOldest() {
			described := operation{Operation: o, name: strings.ToUpper(method) + " " + path, parameters: map[string][]string{}}
			for _, p := range slices.Concat(item.Parameters, o.Parameters) {
				described.parameters[p.In] = append(described.parameters[p.In], p.Name)
			}
			if listed, ok := o.Extensions.Get("x-problems"); ok {
				if err := listed.Decode(&described.problems); err != nil {
					panic(err)
				}
			}
			for status := range o.Responses.Codes.FromOldest() {
				n, _ := strconv.Atoi(status)
				described.statuses = append(described.statuses, n)
			}
			all[regexp.MustCompile(`\{(\w+)\}`).ReplaceAllString(described.name, ":$1")] = described
		}
	}
	return all
})

// The description names just the routes that there are.
func TestTheDescriptionHasEveryRouteAndNoOther(t *testing.T) {
	routes := slices.DeleteFunc(httpapi.Routes(httpapi.Config{}), func(route string) bool { return route == "GET /" })
	same(t, "routes", slices.Collect(maps.Keys(described())), routes)
}

func same(t *testing.T, what string, described, served []string) {
	t.Helper()
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("%s described:\n%s\nserved:\n%s", what, strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}

// The description names just the parameters that each route takes. A route is asked with each name that the router's
// source has, and with one that no route has: of two unknown parameters the first in order is refused.
func TestTheDescriptionHasEveryParameterAndNoOther(t *testing.T) {
	const unknown = "zzz"
	source, err := os.ReadFile("api.go")
	if err != nil {
		t.Fatal(err)
	}
	candidates := map[string]bool{}
	for _, literal := range regexp.MustCompile(`"([a-z_]+)(\+|\.\*)?"`).FindAllStringSubmatch(string(source), -1) {
		candidates[literal[1]] = true
	}
	for _, o := range described() {
		for _, name := range o.parameters["query"] {
			candidates[name] = true
		}
	}
	open, guarded := start(t), startGuarded(t)
	admin := guarded.token("admin", domain.TokenSpec{Roles: []string{"admin"}})
	for route, o := range described() {
		server, header := open, []string(nil)
		if strings.Contains(route, "/v1/access/") { // without access control, refused before its parameters are looked at
			server, header = guarded.server, admin
		}
		method, path, _ := strings.Cut(regexp.MustCompile(`:\w+`).ReplaceAllString(route, "a"), " ")
		var taken []string
		for name := range candidates {
			query := name + "=a"
			if name == "meta" {
				query = "meta[a]=a"
			}
			var p wire.Problem
			server.send(method, path+"?"+query+"&"+unknown, "", header...).json(t, &p)
			if name == "max_silence" && strings.HasPrefix(path, "/v1/streams/") {
				continue // refused there by a rule of its own
			}
			switch p.Field {
			case unknown:
				taken = append(taken, name)
			case name, "meta[a]":
			default:
				t.Errorf("%s with %s gave %+v", route, name, p)
			}
		}
		same(t, "parameters of "+route, slices.Clone(o.parameters["query"]), taken)
		var inPath []string
		for _, name := range regexp.MustCompile(`:(\w+)`).FindAllStringSubmatch(route, -1) {
			inPath = append(inPath, name[1])
		}
		same(t, "parameters in the path of "+route, slices.Clone(o.parameters["path"]), inPath)
	}
}

// problemTable is the table of the description's schema Problem: statuses by the names of types.
func problemTable(t *testing.T) map[string]int {
	t.Helper()
	var document struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct {
						Type struct{ Description string }
					}
				} `yaml:"Problem"`
			}
		}
	}
	if err := yaml.Unmarshal(api.OpenAPI, &document); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]int{}
	for line := range strings.Lines(document.Components.Schemas.Problem.Properties.Type.Description) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		status, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue // the head of the table
		}
		name := strings.TrimSpace(cells[0])
		if _, twice := statuses[name]; twice || strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("the problem %s is listed twice, or without its meaning or what to do", name)
		}
		statuses[name] = status
	}
	return statuses
}

// problemsInCode are the types of problems that the source makes, with their statuses.
func problemsInCode(t *testing.T) map[string]int {
	t.Helper()
	statuses := map[string]int{}
	names := map[string]int{} // of net/http's constants
	for status := 400; status < 600; status++ {
		if text := http.StatusText(status); text != "" {
			names["Status"+strings.NewReplacer(" ", "", "-", "").Replace(text)] = status
		}
	}
	names["StatusRequestURITooLong"] = 414
	note := func(kind ast.Expr, status ast.Expr) {
		literal, ok := kind.(*ast.BasicLit)
		constant, named := status.(*ast.SelectorExpr)
		if !ok || !named || names[constant.Sel.Name] == 0 {
			return
		}
		name, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		if other, again := statuses[name]; again && other != names[constant.Sel.Name] {
			t.Errorf("the problem %s has the statuses %d and %d", name, other, names[constant.Sel.Name])
		}
		statuses[name] = names[constant.Sel.Name]
	}
	for _, dir := range []string{".", "../web"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 4 {
					return true
				}
				function, method := call.Fun.(*ast.SelectorExpr)
				plain, isPlain := call.Fun.(*ast.Ident)
				if method && function.Sel.Name == "NewProblem" || isPlain && (plain.Name == "NewProblem" || plain.Name == "problem") {
					note(call.Args[1], call.Args[0])
				}
				return true
			})
		}
	}
	// These are made without a constant status or a literal name.
	statuses["other-timeline"], statuses["no-such-route"], statuses["method-not-allowed"] = 410, 404, 405
	return statuses
}

// The description lists just the types of problems that there are, each with its status, and each operation just the
// statuses of its problems.
func TestTheDescriptionHasEveryProblemAndNoOther(t *testing.T) {
	lines := func(statuses map[string]int) (lines []string) {
		for name, status := range statuses {
			lines = append(lines, fmt.Sprint(name, " ", status))
		}
		return lines
	}
	table := problemTable(t)
	same(t, "problems", lines(table), lines(problemsInCode(t)))

	ofEvery := []string{"wrong-host", "no-such-route", "method-not-allowed", "internal"}
	listed := map[string]bool{}
	for _, o := range described() {
		statuses := map[int]bool{}
		for i, name := range o.problems {
			if table[name] == 0 || slices.Contains(o.problems[:i], name) || slices.Contains(ofEvery, name) {
				t.Errorf("%s lists %s, which is no problem, is listed twice, or is one of every operation", o.name, name)
			}
			listed[name], statuses[table[name]] = true, true
		}
		for _, status := range o.statuses {
			if status >= 400 && !statuses[status] {
				t.Errorf("%s has %d, and no problem of that status", o.name, status)
			}
			delete(statuses, status)
		}
		if len(statuses) > 0 {
			t.Errorf("%s has problems of statuses that it does not have: %v", o.name, slices.Collect(maps.Keys(statuses)))
		}
	}
	for name := range table {
		if !listed[name] && !slices.Contains(ofEvery, name) {
			t.Errorf("no operation has the problem %s", name)
		}
	}
}

// holdProblem reports a problem that the operation does not list.
func (s *server) holdProblem(r *http.Request, resp *http.Response, body []byte) {
	s.t.Helper()
	var p wire.Problem
	if resp.Header.Get("Content-Type") != web.MIMEProblem || json.Unmarshal(body, &p) != nil {
		return
	}
	name := strings.TrimPrefix(p.Type, wire.TypePrefix)
	if o, ok := routed(r); ok && !slices.Contains(o.problems, name) && name != "internal" && name != "wrong-host" {
		s.t.Errorf("%s does not list the problem %s: %s", o.name, name, body)
	}
}

// holdRequest reports a request that the server carried out and the description does not have: requests are closed. A
// batch of which an item failed is no such request, and a field that is null counts as left out.
func (s *server) holdRequest(r *http.Request, resp *http.Response, reply []byte) {
	s.t.Helper()
	if _, ok := routed(r); !ok || resp.StatusCode >= 300 || r.Method == http.MethodHead || strings.Contains(r.Header.Get("Content-Type"), "ndjson") {
		return
	}
	sent := r.Clone(r.Context())
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			s.t.Fatal(err)
		}
		written, err := io.ReadAll(body)
		if err != nil {
			s.t.Fatal(err)
		}
		if bytes.Contains(written, []byte("null")) || bytes.Contains(reply, []byte(`"failed":[{`)) {
			return
		}
		sent.Body = io.NopCloser(bytes.NewReader(written))
	}
	validating.Lock()
	defer validating.Unlock()
	if ok, errs := description().ValidateHttpRequest(sent); !ok {
		for _, e := range errs {
			s.t.Errorf("%s %s: the request is not as described: %s %s", r.Method, r.URL, e.Message, e.Reason)
			for _, v := range e.SchemaValidationErrors {
				s.t.Errorf("  %s at %s", v.Reason, v.KeywordLocation)
			}
		}
	}
}

// routed is the operation of a request.
func routed(r *http.Request) (operation, bool) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	parts := strings.Split(r.URL.EscapedPath(), "/")
	var found operation
	ok, literals := false, -1
	for route, o := range described() {
		m, path, _ := strings.Cut(route, " ")
		pattern := strings.Split(path, "/")
		if m != method || len(pattern) != len(parts) {
			continue
		}
		matches, same := true, 0
		for i, part := range pattern {
			if strings.HasPrefix(part, ":") {
				continue
			}
			same++
			matches = matches && part == parts[i]
		}
		if matches && same > literals {
			found, ok, literals = o, true, same
		}
	}
	return found, ok
}

// description checks requests and replies against the API's description, which must name every field of theirs.
var description = sync.OnceValue(func() validator.Validator {
	document, err := libopenapi.NewDocument(closed(api.OpenAPI))
	if err != nil {
		panic(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		panic(errors.Join(errs...))
	}
	return v
})

// closed is the description with the schemas of replies closed. They are open for clients, so that a
// later version may add fields; this version's fields must all be described.
func closed(description []byte) []byte {
	var document map[string]any
	if err := yaml.Unmarshal(description, &document); err != nil {
		panic(err)
	}
	for name, schema := range document["components"].(map[string]any)["schemas"].(map[string]any) {
		if !strings.HasSuffix(name, "Event") { // these are made of two, each of which has fields of its own
			closeSchema(schema)
		}
	}
	closeSchema(document["paths"])
	b, err := yaml.Marshal(document)
	if err != nil {
		panic(err)
	}
	return b
}

func closeSchema(node any) {
	switch n := node.(type) {
	case map[string]any:
		_, has := n["properties"].(map[string]any)
		if _, says := n["additionalProperties"]; has && !says && n["type"] == "object" {
			n["additionalProperties"] = false
		}
		for _, child := range n {
			closeSchema(child)
		}
	case []any:
		for _, child := range n {
			closeSchema(child)
		}
	}
}
