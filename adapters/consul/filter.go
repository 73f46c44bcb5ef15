package consul

import (
	"net/http"

	"github.com/hashicorp/go-bexpr"
)

// maxFilter is the most bytes of an expression.
const maxFilter = 8 << 10

// maxSteps is the most steps of parsing an expression. The parser takes sixteen times as many for each pair of parentheses within
// others: this admits six, and ends within about a third of a second.
const maxSteps = 1_000_000

// filter keeps the rows that the request's filter= matches.
func filter[T any](q *request, rows []T) ([]T, error) {
	expression := q.query.Get("filter")
	if expression == "" {
		return rows, nil
	}
	if len(expression) > maxFilter {
		return nil, failure{http.StatusBadRequest, "Failed to create boolean expression evaluator: the filter is too long"}
	}
	if _, err := bexpr.Parse("", []byte(expression), bexpr.MaxExpressions(maxSteps)); err != nil {
		return nil, failure{http.StatusBadRequest, "Failed to create boolean expression evaluator: " + err.Error()}
	}
	matching, err := bexpr.CreateFilter(expression, nil, rows)
	if err != nil {
		return nil, failure{http.StatusBadRequest, err.Error()} // it begins with the same words
	}
	kept, err := matching.Execute(rows)
	if err != nil {
		return nil, failure{http.StatusBadRequest, "Failed to filter: " + err.Error()}
	}
	return kept.([]T), nil
}
