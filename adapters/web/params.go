package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
)

// Params holds a request's query to the parameters that its route takes, so that a misspelt parameter is
// refused by its name instead of changing what the request means. A parameter may be given once.
//
//   - "tag+" is a parameter that may be given many times.
//   - "meta.*" is every parameter that begins with "meta.".
//   - "ns" may also be given as "namespace". Params puts the value under "ns", and refuses two that differ.
//
// Whoever asks c.QueryParam afterwards sees the query as Params left it.
func Params(c echo.Context, names ...string) error {
	raw := c.Request().URL.RawQuery
	if raw == "" {
		return nil
	}
	if _, err := url.ParseQuery(raw); err != nil { // the library would leave out what it cannot read
		return NewProblem(http.StatusBadRequest, "invalid-query", "The query cannot be read", err.Error())
	}
	given := c.QueryParams()
	if slices.Contains(names, "ns") {
		if err := foldNamespace(given); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		many, known := takes(names, name)
		switch {
		case !known:
			return domain.InvalidField{Field: name, Rule: "is not a parameter of this route"}
		case !many && len(given[name]) > 1:
			return domain.InvalidField{Field: name, Rule: "must be given once"}
		}
	}
	return nil
}

// Takes is Params as a route's middleware.
func Takes(names ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := Params(c, names...); err != nil {
				return err
			}
			return next(c)
		}
	}
}

func takes(names []string, name string) (many, known bool) {
	for _, n := range names {
		repeated, isRepeated := strings.CutSuffix(n, "+")
		prefix, isPrefix := strings.CutSuffix(n, "*")
		switch {
		case isRepeated && repeated == name:
			return true, true
		case isPrefix && len(name) > len(prefix) && strings.HasPrefix(name, prefix):
			return false, true
		case !isRepeated && !isPrefix && n == name:
			return false, true
		}
	}
	return false, false
}

// foldNamespace makes one parameter of the two names of the namespace.
func foldNamespace(given url.Values) error {
	long, ok := given["namespace"]
	if !ok {
		return nil
	}
	if len(long) > 1 {
		return domain.InvalidField{Field: "namespace", Rule: "must be given once"}
	}
	if short, both := given["ns"]; both && !slices.Equal(short, long) {
		return domain.InvalidField{Field: "namespace", Rule: "must be the same as ns: they are two names of one parameter"}
	}
	given["ns"] = long
	delete(given, "namespace")
	return nil
}
