package consul_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The parser of filters takes sixteen times as long for each pair of parentheses within others.
func TestAFilterOfManyParenthesesIsRefused(t *testing.T) {
	r := start(t)
	ask := func(filter string) int {
		return r.send("GET", "/v1/health/service/web?filter="+url.QueryEscape(filter), "").StatusCode
	}
	for _, n := range []int{20, 1000} {
		for _, filter := range []string{
			strings.Repeat("(", n), strings.Repeat("(", n) + "Node.Node == a" + strings.Repeat(")", n), strings.Repeat("not (", n) + "Node.Node == a" + strings.Repeat(")", n),
		} {
			if got := ask(filter); got != http.StatusBadRequest {
				t.Errorf("%d parentheses give %d", n, got)
			}
		}
	}
	if got := ask(`((Node.Node == a or (Service.Service == "web")) and not (Node.Node == b))`); got != http.StatusOK {
		t.Errorf("a usual filter gives %d", got)
	}
}
