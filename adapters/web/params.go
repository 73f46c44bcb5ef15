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

// Params checks a request's query against the parameters of its route. A parameter that the route does not have is
// refused by its name: a misspelt parameter must not change the meaning of the request. A parameter may be given once.
//
//   - "tag+" is a parameter that may be given many times.
//   - "meta.*" is every parameter that begins with "meta.". "meta[key]", as generated clients write it, is another name of
//     "meta.key". Params puts the value under "meta.key", and refuses both at once.
//   - "ns" may also be given as "namespace". Params puts the value under "ns", and refuses two that differ.
//
// An empty value is refused: a script whose variable is not set must not reach another namespace, or get the present for the past. Only
// an empty "cursor", which asks for the first page, and an empty "reason" are as good as none. Metadata may have empty values.
//
// A value that is no text, such as one with a NUL or with bytes that are no UTF-8, is refused: nothing that is registered has it.
//
// c.QueryParam gives the query with these changes afterwards.
func Params(c echo.Context, names ...string) error {
	raw := c.Request().URL.RawQuery
	if raw == "" {
		return nil
	}
	if _, err := url.ParseQuery(raw); err != nil { // echo leaves out the parameters that it cannot parse
		return NewProblem(http.StatusBadRequest, "invalid-query", "The query cannot be read", err.Error())
	}
	return CheckParams(c.QueryParams(), names...)
}

// CheckParams is Params for a query that was read already, which it changes.
func CheckParams(given url.Values, names ...string) error {
	if slices.Contains(names, "ns") {
		if err := foldNamespace(given); err != nil {
			return err
		}
	}
	if err := foldKeys(given, names); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		many, known := takes(names, name)
		broken := brokenText(name, given[name])
		switch {
		case !known:
			return domain.InvalidField{Field: name, Rule: "is not a parameter of this route"}
		case !many && len(given[name]) > 1:
			return domain.InvalidField{Field: name, Rule: "must be given once"}
		case broken != "":
			return domain.InvalidField{Field: name, Rule: broken}
		case slices.Contains(given[name], "") && !mayBeEmpty(name):
			return domain.InvalidField{Field: name, Rule: "must not be empty"}
		}
	}
	return nil
}

// brokenText is the rule of texts that a parameter breaks by its name or a value; "": it breaks none.
func brokenText(name string, values []string) string {
	if rule := domain.TextRule(name); rule != "" {
		return rule
	}
	for _, value := range values {
		if rule := domain.TextRule(value); rule != "" {
			return rule
		}
	}
	return ""
}

func mayBeEmpty(name string) bool {
	return name == "cursor" || name == "reason" || strings.HasPrefix(name, "meta.")
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

// takes says whether a route with the parameters names takes the parameter name, and whether many times.
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

// foldKeys puts the values of "prefix[key]" under "prefix.key", for each "prefix.*" of names.
func foldKeys(given url.Values, names []string) error {
	for _, name := range names {
		prefix, many := strings.CutSuffix(name, ".*")
		if !many {
			continue
		}
		for bracketed, values := range given {
			key, ok := strings.CutPrefix(bracketed, prefix+"[")
			key, closed := strings.CutSuffix(key, "]")
			if !ok || !closed || key == "" {
				continue
			}
			if _, both := given[prefix+"."+key]; both {
				return domain.InvalidField{Field: bracketed, Rule: "must be given once: " + prefix + "." + key + " is another name of it"}
			}
			delete(given, bracketed)
			given[prefix+"."+key] = values
		}
	}
	return nil
}

// foldNamespace puts the value of "namespace" under "ns", and refuses two values that differ.
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
