package consul

import (
	"net/http"

	"github.com/hashicorp/go-bexpr"
)

// maxFilter is the most bytes of an expression.
const maxFilter = 8 << 10

// filter keeps the rows that the request's filter= matches.
func filter[T any](q *request, rows []T) ([]T, error) {
	expression := q.query.Get("filter")
	if expression == "" {
		return rows, nil
	}
	if len(expression) > maxFilter {
		return nil, failure{http.StatusBadRequest, "Failed to create boolean expression evaluator: the filter is too long"}
	}
	matching, err := bexpr.CreateFilter(expression, nil, rows)
	if err != nil {
		return nil, failure{http.StatusBadRequest, "Failed to create boolean expression evaluator: " + err.Error()}
	}
	kept, err := matching.Execute(rows)
	if err != nil {
		return nil, failure{http.StatusBadRequest, "Failed to filter: " + err.Error()}
	}
	return kept.([]T), nil
}
