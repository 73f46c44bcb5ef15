package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A body is refused when its items are found to be too many, not when all of them have been read.
func TestABatchIsCountedWhileItIsRead(t *testing.T) {
	s := start(t)
	full := func(item string) string { return strings.Repeat(item+",", httpapi.MaxBatchBody/(len(item)+1)-2) }
	for _, test := range []struct {
		name, path, body, kind string
		status                 int
	}{
		{"heartbeats: commas", "/v1/heartbeats", "[" + strings.Repeat(",", httpapi.MaxBatchBody-2) + "]", "invalid-json", 400},
		{"heartbeats: numbers", "/v1/heartbeats", "[" + full("0") + "0]", "invalid-field", 422},
		{"heartbeats: nulls", "/v1/heartbeats", "[" + full("null") + "0]", "too-many", 413},
		{"heartbeats: names", "/v1/heartbeats", "[" + full(`"a/b"`) + `"a/b"]`, "too-many", 413},
		{"heartbeats: escaped names", "/v1/heartbeats", "[" + full(`"a\u002fb"`) + `"a/b"]`, "too-many", 413},
		{"heartbeats: space before", "/v1/heartbeats", strings.Repeat(" ", 1000) + "[" + full("null")[:7_000_000] + "null]", "too-many", 413},
		{"commands: commas", "/v1/commands", "[" + strings.Repeat(",", httpapi.MaxBatchBody-2) + "]", "invalid-json", 400},
		{"commands: numbers", "/v1/commands", "[" + full("0") + "0]", "too-many", 413},
		{"commands: objects", "/v1/commands", "[" + full("{}") + "{}]", "too-many", 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			send := func() {
				if r := s.post(test.path, test.body); r.StatusCode != test.status || !strings.Contains(string(r.body), test.kind) {
					t.Errorf("answered %d %.300s, want %d %s", r.StatusCode, r.body, test.status, test.kind)
				}
			}
			send()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			send()
			runtime.ReadMemStats(&after)
			// The body is read into memory that doubles, so it costs up to four times its length.
			if took := after.TotalAlloc - before.TotalAlloc; took > 5*httpapi.MaxBatchBody {
				t.Errorf("a body of %d MiB took %d MiB", len(test.body)>>20, took>>20)
			}
		})
	}
}

func TestABatchMayBeAsLongAsItsLimit(t *testing.T) {
	s := start(t)
	for path, item := range map[string]string{"/v1/heartbeats": `"a/b"`, "/v1/commands": `{"type":"x"}`} {
		batch := "[" + strings.Repeat(item+",", httpapi.MaxBatch-1) + item
		s.post(path, batch+"]").want(t, 200)
		s.send("POST", path, batch+","+item+"]").problem(t, 413, "too-many", "")
	}
	lines := strings.Repeat("{}\n", httpapi.MaxBatch)
	s.post("/v1/commands", lines, "Content-Type", "application/x-ndjson").want(t, 200)
	s.send("POST", "/v1/commands", lines+"{}", "Content-Type", "application/x-ndjson").problem(t, 413, "too-many", "")
}

// post is a request whose reply is not held to the description: of ten thousand results that takes long.
func (s *server) post(path, body string, header ...string) reply {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Config.Handler.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return reply{resp, w.Body.Bytes()}
}

// An item may be no longer than the same command by itself.
func TestAnItemOfABatchIsNoLongerThanACommand(t *testing.T) {
	s := start(t)
	long := `{"type":"RegisterInstance","service":"a","id":"b","tags":[` + strings.Repeat(`"",`, httpapi.MaxBody/3) + `""]}`
	if p := s.post("/v1/commands", "["+long+"]").want(t, 200).batch(t, 1)[0].Problem; p == nil || p.Type != wire.TypePrefix+"too-large" {
		t.Errorf("it gave %+v", p)
	}
}

func TestABatchEndsWhereItsArrayEnds(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/v1/heartbeats", "/v1/commands"} {
		for _, body := range []string{`[] x`, `[]]`, `[`, `[null`, `[null,]`, `[null null]`, "[\"\\u0061\" \"b\"]"} {
			s.send("POST", path, body).problem(t, 400, "invalid-json", "")
		}
		s.send("POST", path, " [] ").want(t, 200)
	}
}

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
				var got wire.BatchResult
				s.send("POST", "/v1/heartbeats", "["+strings.Join(items, ",")+"]").want(t, 200).json(t, &got)
				results, ok := got.InOrder(len(items))
				if !ok {
					t.Errorf("the results of %d items are %+v", len(items), got)
					return
				}
				for i, r := range results {
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

// The bodies of batches of registrations are read into memory that is used again: nothing of one may show in what another wrote.
func TestBatchesOfRegistrationsAtOnceAreKeptApart(t *testing.T) {
	s := start(t)
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for n := range 7 {
				var items []string
				for i := range 1 + (n*7+c)%30 {
					items = append(items, fmt.Sprintf(`{"type":"RegisterInstance","service":"s%d","id":"i%d-%d","address":"10.%d.%d.%d","zone":"z%d-%d-%d"}`, c, n, i, c, n, i, c, n, i))
				}
				if n%3 == 0 { // the memory of this body is not used again
					items = append(items, fmt.Sprintf(`{"type":"SendHeartbeat","service":"s%d","id":"none"}`, c))
				}
				s.post("/v1/commands", "["+strings.Join(items, ",")+"]").want(t, 200)
			}
		})
	}
	clients.Wait()
	for c := range 4 {
		for n := range 7 {
			for i := range 1 + (n*7+c)%30 {
				var got wire.Instance
				s.send("GET", fmt.Sprintf("/v1/services/s%d/instances/i%d-%d", c, n, i), "").want(t, 200).json(t, &got)
				if want := fmt.Sprintf("10.%d.%d.%d", c, n, i); got.Address != want || got.Zone != fmt.Sprintf("z%d-%d-%d", c, n, i) {
					t.Fatalf("i%d-%d of s%d is %+v", n, i, c, got)
				}
			}
		}
	}
}

// A minimal reply tells each failure and how many succeeded, and has the position of the whole reply.
func TestAMinimalReplyToABatchCountsWhatSucceeded(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","checks":[{"id":"disk","kind":"ttl","ttl":"30s"}]}`).want(t, 201)
	for path, body := range map[string]string{
		"/v1/commands":      `[{"type":"RegisterInstance","service":"web","id":"1","address":"10.0.0.1"},{"type":"SendHeartbeat","service":"checkout","id":"nobody"},{"type":"SendHeartbeat","service":"checkout","id":"a-1"}]`,
		"/v1/heartbeats":    `["checkout/a-1","checkout/nobody",{"service":"checkout","id":"a-1","epoch":1}]`,
		"/v1/check-reports": `[{"service":"checkout","id":"a-1","check":"disk","status":"passing"},{"service":"checkout","id":"nobody","check":"disk","status":"passing"},{"service":"checkout","id":"a-1","check":"none","status":"passing"}]`,
	} {
		var whole, minimal wire.BatchResult
		got := s.send("POST", path, body, "Prefer", "return=minimal").want(t, 200)
		got.json(t, &minimal)
		s.send("POST", path, body).want(t, 200).json(t, &whole)
		if len(minimal.Succeeded) != 0 || minimal.Omitted != len(whole.Succeeded) || minimal.Omitted == 0 || len(minimal.Failed) != len(whole.Failed) || minimal.Failed[0].Problem.Type != whole.Failed[0].Problem.Type || minimal.Failed[0].Index != 1 {
			t.Errorf("%s: %s, whole %+v", path, got.body, whole)
		}
		if got.Header.Get("Preference-Applied") != "return=minimal" || got.Header.Get("Rollcall-Position") != minimal.Position.String() {
			t.Errorf("%s: %v of %s", path, got.Header, got.body)
		}
	}
	if got := s.send("POST", "/v1/heartbeats", `["checkout/nobody"]`, "Prefer", "return=minimal").want(t, 200); strings.Contains(string(got.body), "omitted") {
		t.Errorf("nothing succeeded, and the reply is %s", got.body)
	}
}
