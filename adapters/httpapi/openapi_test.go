package httpapi_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/docs/api"
)

// The description names just the routes that there are.
func TestTheDescriptionHasEveryRouteAndNoOther(t *testing.T) {
	document, err := libopenapi.NewDocument(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	parameter := regexp.MustCompile(`:(\w+)`)
	var served []string
	for _, route := range httpapi.Routes(httpapi.Config{}) {
		if route != "GET /" {
			served = append(served, parameter.ReplaceAllString(route, "{$1}"))
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}

// description checks replies against the API's description, which must name every field of theirs.
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
