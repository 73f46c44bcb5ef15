package httpapi_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"

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
