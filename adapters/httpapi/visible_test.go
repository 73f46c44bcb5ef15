package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

var callerOfTests = commands.Caller{Actor: domain.LocalActor}

// startShared is a registry with services that a caller may see (shop/pay-*) and services that it may not. The caller's role
// reads everything that can be read.
func startShared(t *testing.T) (g guarded, limited, all []string) {
	t.Helper()
	g = startGuarded(t)
	all = g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	reads := []domain.RoleGrant{{Verbs: []string{"read-catalog", "read-history", "read-events"}, Namespace: "*", Service: "*"}}
	if err := g.commands.Do(t.Context(), callerOfTests, domain.SetRole{Name: "reads", Grants: reads}); err != nil {
		t.Fatal(err)
	}
	limited = g.token("limited", domain.TokenSpec{Roles: []string{"reads"}, Namespaces: []domain.Pattern{"shop"}, Services: []domain.Pattern{"pay-*"}})
	for _, path := range []string{"pay-in/instances/a?ns=shop", "hidden-1/instances/hidden-a?ns=shop", "pay-out/instances/b?ns=shop", "pay-in/instances/hidden-b?ns=hidden-ns", "hidden-2/instances/hidden-c"} {
		g.send("PUT", "/v1/services/"+path, `{"address":"10.0.0.1","ports":{"http":80},"metadata":{"note":"`+strings.ReplaceAll(path, "/", " ")+`"}}`, all...).want(t, 201)
	}
	return g, limited, all
}

// Lists, histories and events show a caller what it may see, and nothing of the rest.
func TestListsHistoriesAndEventsShowWhatTheCallerMaySee(t *testing.T) {
	g, limited, all := startShared(t)
	for path, want := range map[string]int{ // how many services are there
		"/v1/services?ns=shop": 2, "/v1/services?ns=*": 2, "/v1/services?ns=*&at=now": 2, "/v1/namespaces": 0, "/v1/catalog": 2, "/v1/catalog?ns=shop": 2, "/v1/catalog?at=now": 2,
		"/v1/sd/prometheus": 2, "/v1/sd/prometheus?ns=shop": 2, "/v1/sd/prometheus?service=pay-in": 1, "/v1/sd/prometheus?service=hidden-1": 0, "/v1/preservation": 0,
		"/v1/history": 2, "/v1/history?ns=shop": 2, "/v1/history?order=oldest&limit=1": 1, "/v1/events": 2, "/v1/events?ns=shop": 2, "/v1/events?format=cloudevents": 2,
	} {
		r := g.send("GET", path, "", limited...).want(t, 200)
		if strings.Contains(string(r.body), "hidden") || strings.Contains(fmt.Sprint(r.Header), "hidden") {
			t.Errorf("%s shows %s", path, r.body)
		}
		n := 0
		for _, name := range []string{"pay-in", "pay-out"} {
			n += min(1, strings.Count(string(r.body), name))
		}
		if n != want {
			t.Errorf("%s shows %d services, want %d: %s", path, n, want, r.body)
		}
		if whole := g.send("GET", strings.Replace(path, "limit=1", "limit=9", 1), "", all...).want(t, 200); !strings.Contains(path, "service=pay-in") && !strings.Contains(path, "ns=shop") && !strings.Contains(string(whole.body), "hidden") {
			t.Errorf("%s does not show everything to who may see it: %s", path, whole.body)
		}
	}
	var list struct {
		Namespaces []struct {
			Namespace           string
			Services, Instances int
		}
	}
	g.send("GET", "/v1/namespaces", "", limited...).want(t, 200).json(t, &list)
	if fmt.Sprint(list.Namespaces) != "[{shop 2 2}]" {
		t.Errorf("the namespaces are %v", list.Namespaces)
	}
	var held struct {
		Namespaces []struct {
			Namespace       string
			Leases, Overdue int
		}
	}
	for _, path := range []string{"/v1/preservation", "/v1/preservation?ns=shop"} {
		g.send("GET", path, "", limited...).want(t, 200).json(t, &held)
		if fmt.Sprint(held.Namespaces) != "[{shop 2 0}]" {
			t.Errorf("%s tells of %v", path, held.Namespaces)
		}
	}
	// That expiry is held elsewhere is not told, and that it is held here is.
	for want, ns := range []string{"hidden-ns", "shop"} { // in this order, because what is held stays so
		g.send("PUT", "/v1/preservation?ns="+ns, `{"held":true}`, all...).want(t, 200)
		for _, path := range []string{"/v1/preservation?ns=*", "/v1/services?ns=*", "/v1/catalog?ns=*"} {
			r := g.send("GET", path, "", limited...).want(t, 200)
			if len(r.Header["Rollcall-Warning"]) != want || strings.Contains(string(r.body), "hidden") {
				t.Errorf("held in %s, %s shows %v %s", ns, path, r.Header, r.body)
			}
		}
	}
	// All pages of the history together show no more than the first did, and end.
	path, seen := "/v1/history?limit=1", 0
	for range 20 {
		var p page
		g.send("GET", path, "", limited...).want(t, 200).json(t, &p)
		if seen += len(p.Entries); p.Next == "" {
			break
		}
		path = "/v1/history?limit=1&cursor=" + p.Next
	}
	if seen != 2 {
		t.Errorf("the pages show %d entries", seen)
	}
	for _, path := range []string{"/v1/services?ns=hidden-ns", "/v1/services", "/v1/catalog?ns=other", "/v1/sd/prometheus?ns=hidden-ns", "/v1/preservation?ns=hidden-ns", "/v1/diff?from=1", "/metrics", "/v1/status"} {
		g.send("GET", path, "", limited...).problem(t, 403, "forbidden", "")
	}
}

// A name that a caller may not read is the same to it as one that is not there: over all routes, the replies are equal
// but for the name.
func TestACallerCannotTellHiddenNamesFromNamesThatAreNotThere(t *testing.T) {
	g, limited, _ := startShared(t)
	changing := regexp.MustCompile(`"request_id":"[^"]*"|"time":"[^"]*"`)
	ask := func(method, path string) string {
		r, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(map[bool]string{true: "{}"}[method == "PUT" || method == "POST"]))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(limited[0], limited[1])
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := ""
		if resp.StatusCode != http.StatusOK { // who is let in sees a part, which other tests look at
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				body += lines.Text()
			}
		}
		for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} {
			resp.Header.Del(name)
		}
		return fmt.Sprint(resp.StatusCode, resp.Header, changing.ReplaceAllString(body, ""))
	}
	for _, r := range httpapi.Rights {
		method, path, _ := strings.Cut(r.Route, " ")
		for _, query := range []string{"", "?ns=shop"} {
			var answers []string
			for _, names := range [][3]string{{"hidden-1", "hidden-a", "hidden-ns"}, {"absent-1", "absent-a", "absent-ns"}} {
				full := strings.NewReplacer(":service", names[0], ":id", names[1], ":name", "no").Replace(path)
				more := query
				if !strings.Contains(path, ":service") && query == "" {
					more = "?ns=" + names[2]
				}
				answers = append(answers, strings.NewReplacer(names[0], "S", names[1], "I", names[2], "N").Replace(ask(method, full+more)))
			}
			if answers[0] != answers[1] {
				t.Errorf("%s%s: a hidden name gives\n%s\na name that is not there\n%s", r.Route, query, answers[0], answers[1])
			}
		}
	}
	for _, r := range httpapi.Filtered {
		if !slices.ContainsFunc(httpapi.Rights, func(right httpapi.Right) bool { return right.Route == r }) {
			t.Errorf("%s is no route", r)
		}
	}
}

// lines are the lines of a stream or a long poll, until it ends.
func (g guarded) lines(ctx context.Context, path string, header []string) <-chan string {
	g.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", g.URL+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set(header[0], header[1])
	lines := make(chan string, 1000) // closed when the reply has ended
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// Streams begin with what the caller may see, and go on with changes of that only. When its rights end, so do they.
func TestStreamsShowWhatTheCallerMaySeeUntilItsRightsEnd(t *testing.T) {
	g, limited, all := startShared(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	streams := map[string]<-chan string{}
	for _, path := range []string{"/v1/streams/catalog", "/v1/streams/catalog?ns=shop", "/v1/streams/catalog?from=1", "/v1/streams/services/pay-in?ns=shop", "/v1/streams/catalog?service=shop/pay-in", "/v1/streams/events", "/v1/streams/events?ns=shop&from=0", "/v1/events?follow=true"} {
		streams[path] = g.lines(ctx, path, limited)
	}
	g.send("PUT", "/v1/services/hidden-1/instances/hidden-d?ns=shop", `{"address":"10.0.0.1"}`, all...).want(t, 201)
	g.send("PUT", "/v1/services/pay-in/instances/seen-1?ns=shop", `{"address":"10.0.0.1"}`, all...).want(t, 201)
	for path, lines := range streams {
		for seen := false; !seen; {
			select {
			case line, ok := <-lines:
				if !ok || strings.Contains(line, "hidden") {
					t.Fatalf("%s: %v %s", path, ok, line)
				}
				seen = strings.Contains(line, "seen-1")
			case <-ctx.Done():
				t.Fatalf("%s does not tell of a change", path)
			}
		}
	}
	var current string
	if m := regexp.MustCompile(`"position":"([^"]+)"`).FindStringSubmatch(string(g.send("GET", "/v1/services/pay-in/instances?ns=shop", "", all...).body)); m != nil {
		current = m[1]
	}
	for _, path := range []string{"/v1/services?ns=shop&wait=15s&index=", "/v1/services/pay-in?ns=shop&wait=15s&index=", "/v1/services/pay-in/instances?ns=shop&wait=15s&index="} {
		index := current
		if strings.HasPrefix(path, "/v1/services?") {
			index = regexp.MustCompile(`"position":"([^"]+)"`).FindStringSubmatch(string(g.send("GET", "/v1/services?ns=shop", "", all...).body))[1]
		}
		waiting := make(chan (<-chan string), 1)
		go func() { waiting <- g.lines(ctx, path+index, limited) }()
		streams[path] = deferred(waiting)
	}
	time.Sleep(100 * time.Millisecond) // the long polls wait
	if err := g.commands.Do(t.Context(), callerOfTests, domain.RevokeToken{Name: "limited", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	g.send("PUT", "/v1/services/pay-in/instances/late-1?ns=shop", `{"address":"10.0.0.1"}`, all...).want(t, 201)
	for path, lines := range streams {
		for ended := false; !ended; {
			select {
			case line, ok := <-lines:
				if ended = !ok; strings.Contains(line, "late-1") || strings.Contains(line, "hidden") {
					t.Errorf("%s goes on after the token was revoked: %s", path, line)
				}
			case <-ctx.Done():
				t.Fatalf("%s does not end", path)
			}
		}
	}
}

// deferred are the lines of a reply that has not come yet.
func deferred(waiting <-chan (<-chan string)) <-chan string {
	lines := make(chan string, 1000) // closed when the reply has ended
	go func() {
		defer close(lines)
		for line := range <-waiting {
			lines <- line
		}
	}()
	return lines
}
