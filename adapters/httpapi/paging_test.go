package httpapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// pages follows the cursors of a list to its end, and calls between before each page but the first. It gives the names on
// all pages.
func pages(t *testing.T, s *server, path string, between func()) (names []string, count int) {
	t.Helper()
	cursor := ""
	for {
		ask := path
		if cursor != "" {
			ask += "&cursor=" + url.QueryEscape(cursor)
			if between != nil {
				between()
			}
		}
		var page struct {
			Next      string
			Instances []wire.Instance
			Services  []struct {
				Namespace, Service string
				Instances          any
			}
		}
		s.send("GET", ask, "").want(t, 200).json(t, &page)
		for _, i := range page.Instances {
			names = append(names, i.ID)
		}
		for _, service := range page.Services {
			list, isList := service.Instances.([]any)
			if !isList {
				names = append(names, service.Namespace+"/"+service.Service)
			}
			for _, i := range list {
				names = append(names, fmt.Sprintf("%s/%s/%v", service.Namespace, service.Service, i.(map[string]any)["id"]))
			}
		}
		count++
		if page.Next == "" {
			return names, count
		}
		cursor = page.Next
	}
}

func registerMany(t *testing.T, s *server) (all []string) {
	t.Helper()
	for _, service := range []string{"db", "web"} {
		for i := range 7 {
			zone := []string{"a", "b"}[i%2]
			s.send("PUT", fmt.Sprintf("/v1/services/%s/instances/i%d", service, i), `{"address":"10.0.0.5","zone":"`+zone+`","ttl":"1h"}`).want(t, 201)
			all = append(all, fmt.Sprintf("default/%s/i%d", service, i))
		}
	}
	s.send("PUT", "/v1/services/web/instances/x?ns=shop", `{"address":"10.0.0.6","ttl":"1h"}`).want(t, 201)
	return append(all, "shop/web/x")
}

// The pages of a list are the list, for every size of page and with every filter.
func TestPagesOfAListAreTheList(t *testing.T) {
	s := start(t)
	all := registerMany(t, s)
	for limit := 1; limit <= 20; limit++ {
		for path, want := range map[string][]string{
			"/v1/catalog?":                             all,
			"/v1/catalog?ns=default":                   all[:14],
			"/v1/catalog?zone=b":                       {"default/db/i1", "default/db/i3", "default/db/i5", "default/web/i1", "default/web/i3", "default/web/i5"},
			"/v1/catalog?at=3":                         all[:3],
			"/v1/services?ns=*":                        {"default/db", "default/web", "shop/web"},
			"/v1/services?":                            {"default/db", "default/web"},
			"/v1/services/web/instances?":              {"i0", "i1", "i2", "i3", "i4", "i5", "i6"},
			"/v1/services/web/instances?zone=a":        {"i0", "i2", "i4", "i6"},
			"/v1/services/web/instances?ready=true":    {"i0", "i1", "i2", "i3", "i4", "i5", "i6"},
			"/v1/services/web/instances?leases=true":   {"i0", "i1", "i2", "i3", "i4", "i5", "i6"},
			"/v1/services/db/instances?at=2":           {"i0", "i1"},
			"/v1/services/web/instances?max_silence=2": {"i0", "i1", "i2", "i3", "i4", "i5", "i6"},
		} {
			got, count := pages(t, s, fmt.Sprintf("%s&limit=%d", path, limit), nil)
			if wanted := (len(want) + limit - 1) / limit; !slices.Equal(got, want) || count != wanted {
				t.Errorf("%s in pages of %d: %v on %d pages; want %v on %d", path, limit, got, count, want, wanted)
			}
		}
	}
}

// Whatever is registered all the while is on exactly one page, whatever comes and goes between two pages.
func TestPagesStayRightWhileInstancesComeAndGo(t *testing.T) {
	s := start(t)
	registerMany(t, s)
	n := 0
	churn := func() {
		n++
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/a%d", n), `{"address":"10.0.0.7"}`).want(t, 201) // before all others
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/z%d", n), `{"address":"10.0.0.7"}`).want(t, 201) // behind them
		if n == 1 {
			s.send("DELETE", "/v1/services/web/instances/i1", "").want(t, 200) // the page before ended with it
		}
	}
	got, _ := pages(t, s, "/v1/services/web/instances?limit=2", churn)
	staying := slices.DeleteFunc(slices.Clone(got), func(id string) bool { return id[0] != 'i' })
	if want := []string{"i0", "i1", "i2", "i3", "i4", "i5", "i6"}; !slices.Equal(staying, want) {
		t.Errorf("the pages have %v, want %v", staying, want)
	}
	seen := slices.Clone(got)
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(got) {
		t.Errorf("an instance is on two pages: %v", got)
	}
	// With a moment, all pages are of the catalog of the first, also where the moment is relative.
	s.send("DELETE", "/v1/services/web/instances/i2", "").want(t, 200)
	time.Sleep(2 * time.Millisecond) // the moment of the first page is behind the deletion
	past, _ := pages(t, s, "/v1/services/web/instances?limit=3&at="+url.QueryEscape("1ms ago"), churn)
	if slices.Contains(past, "i2") || slices.ContainsFunc(past, func(id string) bool { return id == fmt.Sprint("z", n) }) {
		t.Errorf("pages of a moment have what came later: %v", past)
	}
}

// A cursor goes on with the list that gave it, and with no other.
func TestCursorsOfListsAreHeldToTheirList(t *testing.T) {
	s := start(t)
	registerMany(t, s)
	var page struct{ Next string }
	s.send("GET", "/v1/services/web/instances?zone=a&limit=2", "").want(t, 200).json(t, &page)
	if page.Next == "" {
		t.Fatal("there is no next page")
	}
	cursor := "cursor=" + page.Next
	s.send("GET", "/v1/services/web/instances?zone=a&"+cursor, "").want(t, 200) // the limit is the cursor's
	for path, field := range map[string]string{
		"/v1/services/web/instances?zone=b&" + cursor:         "cursor",
		"/v1/services/db/instances?zone=a&" + cursor:          "cursor",
		"/v1/services/web/instances?zone=a&ns=shop&" + cursor: "cursor",
		"/v1/services/web/instances?zone=a&at=5&" + cursor:    "cursor",
		"/v1/catalog?zone=a&" + cursor:                        "cursor",
		"/v1/services?" + cursor:                              "cursor",
		"/v1/services/web/instances?zone=a&index=0&" + cursor: "cursor",
		"/v1/services/web/instances?zone=a&wait=1s&" + cursor: "cursor",
		"/v1/services?cursor=nonsense":                        "cursor",
		"/v1/services?cursor=e30":                             "cursor",
		"/v1/services?limit=0":                                "limit",
		"/v1/services?limit=10001":                            "limit",
		"/v1/catalog?limit=-1":                                "limit",
		"/v1/services/web/instances?limit=ten":                "limit",
		"/v1/services/web/instances?zone=a&limit=0&" + cursor: "limit",
		"/v1/services/web/instances?limit=1&limit=2":          "limit",
	} {
		s.send("GET", path, "").problem(t, 422, "invalid-field", field)
	}
}

// A page that is unchanged is not sent twice.
func TestAnUnchangedPageIsNotSentAgain(t *testing.T) {
	s := start(t)
	registerMany(t, s)
	for _, path := range []string{"/v1/services/db/instances?limit=3", "/v1/services?limit=1", "/v1/catalog?limit=5&zone=a"} {
		etag := s.send("GET", path, "").want(t, 200).Header.Get("ETag")
		if s.send("GET", path, "", "If-None-Match", etag).want(t, 304); etag == "" {
			t.Errorf("%s has no ETag", path)
		}
	}
}

// The catalog takes the filters and the long polls that a service takes.
func TestTheCatalogIsFilteredAndAwaited(t *testing.T) {
	s := start(t)
	registerMany(t, s)
	var catalog wire.Catalog
	s.send("GET", "/v1/catalog?zone=b&ns=default", "").want(t, 200).json(t, &catalog)
	if len(catalog.Services) != 2 || len(catalog.Services[0].Instances) != 3 || catalog.Position.Number < 15 {
		t.Errorf("the catalog is %+v", catalog)
	}
	s.send("GET", "/v1/catalog?status=critical", "").want(t, 200).json(t, &catalog)
	if len(catalog.Services) != 0 {
		t.Errorf("services without an instance that is picked are listed: %+v", catalog)
	}
	s.send("GET", "/v1/catalog?max_silence=2&at=3", "").problem(t, 422, "invalid-field", "max_silence")
	s.send("GET", "/v1/catalog?at=3&wait=1s&index=0", "").problem(t, 422, "invalid-field", "at")
	// Heartbeats are no changes: a poll with the reply's position waits for the next change.
	s.send("PUT", "/v1/services/web/instances/i1/heartbeat", "").want(t, 200)
	s.send("GET", "/v1/catalog", "").want(t, 200).json(t, &catalog)
	began := time.Now()
	s.send("GET", "/v1/catalog?wait=50ms&index="+catalog.Position.String(), "").want(t, 200)
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("nothing has changed, and the answer came after %v", took)
	}
	answered := make(chan reply, 1)
	go func() {
		answered <- s.send("GET", "/v1/catalog?wait=1m&index="+catalog.Position.String()+"&zone=c", "")
	}()
	s.send("PUT", "/v1/services/web/instances/new", `{"address":"10.0.0.9","zone":"c"}`).want(t, 201)
	if got := <-answered; !strings.Contains(string(got.body), `"id":"new"`) {
		t.Errorf("the poll was answered with %s", got.body)
	}
}
