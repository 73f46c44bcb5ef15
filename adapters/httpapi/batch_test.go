package httpapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Batches are worked on in memory that is used again: none may show in another.
func TestBatchesAtOnceAreKeptApart(t *testing.T) {
	s := start(t)
	s.fleet(400)
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for n := range 40 {
				var items, want []string
				for i := range 1 + (n*7+c)%30 {
					id := (c*100 + n + i) % 400 // each client has its own, but for some
					switch (n + i) % 5 {
					case 0: // without the fast path
						items, want = append(items, fmt.Sprintf(`"checkout\u002fi%d"`, id)), append(want, fmt.Sprintf("i%d", id))
					case 1:
						items, want = append(items, fmt.Sprintf(`"checkout/gone-%d-%d-%d"`, c, n, i)), append(want, fmt.Sprintf("gone-%d-%d-%d", c, n, i))
					case 2:
						items, want = append(items, `null`), append(want, "")
					default:
						items, want = append(items, fmt.Sprintf(`"default/checkout/i%d"`, id)), append(want, fmt.Sprintf("i%d", id))
					}
				}
				var got struct {
					Results []struct {
						ID      string
						Problem *struct{ Detail string }
					}
				}
				s.send("POST", "/v1/heartbeats", "["+strings.Join(items, ",")+"]").want(t, 200).json(t, &got)
				if len(got.Results) != len(items) {
					t.Errorf("%d results of %d items", len(got.Results), len(items))
					return
				}
				for i, r := range got.Results {
					switch {
					case strings.HasPrefix(want[i], "i") && (r.Problem != nil || r.ID != want[i]),
						strings.HasPrefix(want[i], "gone") && (r.Problem == nil || !strings.Contains(r.Problem.Detail, want[i])),
						want[i] == "" && r.Problem == nil:
						t.Errorf("item %s gave %+v, %+v", items[i], r, r.Problem)
						return
					}
				}
			}
		})
	}
	clients.Wait()
}
