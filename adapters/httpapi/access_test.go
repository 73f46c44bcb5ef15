package httpapi_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// guarded is a registry with access control, and the commands that make its tokens.
type guarded struct {
	*server
	commands *commands.Access
	access   *web.Access
}

func startGuarded(t testing.TB) guarded {
	t.Helper()
	g := guarded{}
	g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Access, g.commands = &web.Access{Tokens: c.Tokens, Now: time.Now}, c.AccessCommands
	})
	return g
}

// token makes a token and gives the header that shows it.
func (g guarded) token(name string, spec domain.TokenSpec) []string {
	g.t.Helper()
	secret, err := g.commands.Create(g.t.Context(), commands.Caller{Actor: domain.LocalActor}, name, spec)
	if err != nil {
		g.t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + secret}
}

func TestEveryRouteSaysWhichRightItNeeds(t *testing.T) {
	var declared []string
	for _, r := range httpapi.Rights {
		declared = append(declared, r.Route)
	}
	routes := httpapi.Routes(httpapi.Config{})
	slices.Sort(declared)
	slices.Sort(routes)
	if !slices.Equal(declared, routes) {
		t.Errorf("declared:\n%s\nserved:\n%s", strings.Join(declared, "\n"), strings.Join(routes, "\n"))
	}
}

// matrix is the table of docs/access.md: which built-in role may use which route.
func matrix() string {
	var b strings.Builder
	roles := domain.BuiltInRoles()
	b.WriteString("| route | verb | on |")
	for _, r := range roles {
		b.WriteString(" " + r.Name + " |")
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(roles)) + "\n")
	for _, r := range httpapi.Rights {
		verb := r.Verb.String()
		if free(r) {
			verb = "none"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |", r.Route, verb, r.On)
		for _, role := range roles {
			cell := ""
			if mayUse(role.Name, r) {
				cell = "yes"
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// free says whether a route needs no right.
func free(r httpapi.Right) bool { return r.On == httpapi.OnNothing || r.On == httpapi.OnCaller }

func mayUse(role string, r httpapi.Right) bool {
	grants := new(domain.Access).Grants(domain.TokenSpec{Roles: []string{role}})
	return free(r) || domain.Allow(grants, r.Verb, domain.Key{})
}

func TestTheMatrixOfTheDocumentIsThatOfTheCode(t *testing.T) {
	document, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), matrix()) {
		t.Errorf("docs/access.md must have:\n%s", matrix())
	}
}

// Every route is tried with every built-in role, and with none.
func TestEveryRouteHoldsEveryRoleToItsRights(t *testing.T) {
	g := startGuarded(t)
	tokens := map[string][]string{"nobody": nil}
	for _, role := range domain.BuiltInRoles() {
		tokens[role.Name] = g.token("a-"+role.Name, domain.TokenSpec{Roles: []string{role.Name}})
	}
	fill := strings.NewReplacer(":service", "checkout", ":id", "x-1", ":name", "nothing")
	for _, r := range httpapi.Rights {
		method, path, _ := strings.Cut(r.Route, " ")
		body := ""
		if method == "POST" || method == "PUT" {
			body = "{}"
		}
		for role, header := range tokens {
			allowed := free(r) || role != "nobody" && mayUse(role, r)
			got := g.begin(method, fill.Replace(path), body, header...)
			refused := got == http.StatusForbidden || got == http.StatusUnauthorized
			switch {
			case r.On == httpapi.OnSocket: // no token is enough
				if !refused {
					t.Errorf("%s as %s: %d", r.Route, role, got)
				}
			case allowed && refused:
				t.Errorf("%s as %s: %d, but it is allowed", r.Route, role, got)
			case !allowed && role == "nobody" && got != http.StatusUnauthorized:
				t.Errorf("%s without a token: %d", r.Route, got)
			case !allowed && role != "nobody" && got != http.StatusForbidden:
				t.Errorf("%s as %s: %d", r.Route, role, got)
			}
		}
	}
}

// A part that is missing in a path does not stand for all: the history of the webhook without an id is not the history of everything.
func TestNoRouteTakesAPathWithAMissingPart(t *testing.T) {
	g := startGuarded(t)
	admin := g.token("all", domain.TokenSpec{Roles: []string{"admin"}})
	if got := g.begin("PUT", "/v1/access/roles/webhooks", `{"grants":[{"verbs":["webhooks"],"namespace":"*","service":"*"}]}`, admin...); got >= 300 {
		t.Fatalf("the role: %d", got)
	}
	keeper := g.token("keeper", domain.TokenSpec{Roles: []string{"webhooks"}})
	g.begin("PUT", "/v1/services/checkout/instances/x-1", `{"address":"10.0.0.1"}`, admin...)
	if got := g.begin("GET", "/v1/webhooks//history", "", keeper...); got != http.StatusUnprocessableEntity {
		t.Errorf("a caller who may manage webhooks only asks for the history of the webhook without an id: %d", got)
	}
	parts := regexp.MustCompile(`:(\w+)`)
	for _, r := range httpapi.Rights {
		method, path, _ := strings.Cut(r.Route, " ")
		for _, at := range parts.FindAllStringIndex(path, -1) {
			missing := parts.ReplaceAllString(path[:at[0]], "x-1") + parts.ReplaceAllString(path[at[1]:], "x-1")
			if got := g.begin(method, missing, "", admin...); got < 400 || got >= 500 {
				t.Errorf("%s %s: %d", method, missing, got)
			}
		}
	}
}

// begin sends a request and gives the status of the reply, whose body may have no end.
func (g guarded) begin(method, path, body string, header ...string) int {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.URL+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestABadTokenGetsOneAnswer(t *testing.T) {
	g := startGuarded(t)
	good := g.token("good", domain.TokenSpec{Roles: []string{"admin"}})
	revoked := g.token("revoked", domain.TokenSpec{Roles: []string{"admin"}})
	if err := g.commands.Do(t.Context(), commands.Caller{}, domain.RevokeToken{Name: "revoked"}); err != nil {
		t.Fatal(err)
	}
	elsewhere := g.token("elsewhere", domain.TokenSpec{Roles: []string{"admin"}, Networks: []string{"10.0.0.0/8"}})
	g.send("GET", "/v1/catalog", "", good...).want(t, 200)
	var first string
	for name, header := range map[string][]string{
		"none": nil, "revoked": revoked, "from elsewhere": elsewhere,
		"unknown":          {"Authorization", "Bearer " + commands.SecretPrefix + strings.Repeat("0", 64)},
		"malformed":        {"Authorization", "Bearer x"},
		"empty":            {"Authorization", "Bearer "},
		"without a scheme": {"Authorization", strings.TrimPrefix(good[1], "Bearer ")},
		"another scheme":   {"Authorization", "Basic " + strings.TrimPrefix(good[1], "Bearer ")},
		"long":             {"Authorization", "Bearer " + strings.Repeat("a", 60_000)},
		"with more":        {"Authorization", good[1] + "0"},
	} {
		r := g.send("GET", "/v1/catalog", "", header...)
		r.want(t, 401)
		var p struct{ Type, Title, Detail string }
		r.json(t, &p)
		if got := fmt.Sprint(p); first == "" {
			first = got
		} else if got != first {
			t.Errorf("%s: %s, another gets %s", name, got, first)
		}
		if r.Header.Get("WWW-Authenticate") != web.Challenge || r.Header.Get("Rollcall-Position") != "" {
			t.Errorf("%s: headers %v", name, r.Header)
		}
	}
}

func TestATokenActsUnderItsNameWithinItsBounds(t *testing.T) {
	g := startGuarded(t)
	team := g.token("team", domain.TokenSpec{Roles: []string{"operator"}, Namespaces: []domain.Pattern{"shop", "pay"}})
	audit := g.token("audit", domain.TokenSpec{Roles: []string{"auditor"}})
	body := `{"address":"10.0.0.5"}`
	g.send("PUT", a1+"?ns=shop", body, team...).want(t, 201)
	r := g.send("PUT", a1, body, team...)
	r.want(t, 403)
	var p struct{ Verb, Pattern string }
	if r.json(t, &p); p.Verb != "write or write-own" || p.Pattern != "default/checkout/a-1" {
		t.Errorf("refused for %+v", p)
	}
	for path, want := range map[string]int{
		"/v1/services?ns=shop": 200, "/v1/services?namespace=shop": 200, "/v1/services": 403, "/v1/catalog": 200, "/v1/catalog?ns=shop": 200, "/v1/catalog?ns=other": 403,
		"/v1/streams/catalog?service=shop/web&service=pay/web": 200, "/v1/streams/catalog?service=shop/web&service=web": 403, "/v1/streams/catalog?ns=shop&service=other/web": 403,
		"/v1/history": 200, "/v1/history?ns=shop": 200, "/v1/events": 200, "/v1/events?ns=shop": 200, "/v1/events?service=checkout": 403, "/v1/events?ns=shop&service=checkout": 200,
		"/v1/diff": 403, "/metrics": 403, "/v1/services/checkout/instances?ns=shop&namespace=other": 422, "/v1/services/checkout/instances?ns=shop&ns=other": 422,
		"/v1/catalog?ns=*": 200, "/v1/catalog?ns=*shop": 403, "/v1/catalog?namespace=*": 200, "/v1/history?ns=*": 200, "/v1/events?ns=*": 200, "/v1/streams/catalog?ns=*": 200, "/v1/services?ns=*": 200, "/v1/namespaces": 200,
		"/v1/preservation?ns=*": 200, "/v1/preservation?namespace=*": 200, "/v1/preservation?ns=other": 403, "/v1/preservation?ns=shop": 200, "/v1/webhooks": 403, "/v1/access/tokens": 403,
	} {
		if got := g.begin("GET", path, "", team...); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]int{"/v1/preservation?ns=pay": 200, "/v1/preservation?ns=other": 403, "/v1/preservation?namespace=*": 403, "/v1/preservation": 403} {
		g.send("PUT", path, `{"held":false}`, team...).want(t, want)
	}
	g.send("POST", "/v1/commands", `[{"type":"RegisterInstance","namespace":"shop","service":"web","id":"b","address":"10.0.0.6"},{"type":"RegisterInstance","service":"web","id":"b","address":"10.0.0.6"}]`, team...).want(t, 200)
	if got := g.send("POST", "/v1/heartbeats", `["shop/web/b","other/web/b","default/web/b","shop/checkout/a-1"]`, team...); strings.Count(string(got.body), "forbidden") != 2 || !strings.HasPrefix(string(got.body), `{"succeeded":[{"index":0,"namespace":"shop",`) {
		t.Errorf("heartbeats of two namespaces: %s", got.body)
	}
	if history := g.send("GET", "/v1/history?ns=shop", "", audit...); strings.Count(string(history.body), `"actor":"team"`) != 2 {
		t.Errorf("the history: %s", history.body)
	}
	if history := g.send("GET", "/v1/history?type=TokenCreated", "", audit...); !strings.Contains(string(history.body), "token team created with operator, namespaces shop pay") || strings.Contains(string(history.body), commands.SecretPrefix) {
		t.Errorf("the history of tokens: %s", history.body)
	}
	g.send("GET", "/v1/catalog", "", audit...).want(t, 403)
}

func TestAServiceChangesItsOwnInstancesOnly(t *testing.T) {
	g := startGuarded(t)
	spec := domain.TokenSpec{Roles: []string{"service"}, Namespaces: []domain.Pattern{"default"}, Services: []domain.Pattern{"checkout"}}
	mine, other := g.token("mine", spec), g.token("other", spec)
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, mine...).want(t, 201)
	for _, try := range []struct {
		method, path, body string
		own                int
	}{
		{"PUT", a1 + "/heartbeat", "", 200}, {"PUT", a1, `{"address":"10.0.0.6"}`, 200}, {"PUT", a1 + "/health", `{"status":"warning"}`, 200},
		{"PUT", a1 + "/traffic", `{"traffic":"draining"}`, 200}, {"DELETE", a1, "", 200},
	} {
		g.send(try.method, try.path, try.body, other...).want(t, 403)
		g.send(try.method, try.path, try.body, mine...).want(t, try.own)
	}
	g.send("PUT", a1, `{"address":"10.0.0.5","owner":"other:pod-1"}`, mine...).want(t, 422)
	g.send("PUT", a1, `{"address":"10.0.0.5","owner":"mine:pod-1"}`, mine...).want(t, 201)
	g.send("PUT", a1+"/health", `{"status":"warning","source":"operator"}`, mine...).want(t, 403)
	g.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`, mine...).want(t, 403)
	if got := g.send("POST", "/v1/heartbeats", `["checkout/a-1"]`, other...); !strings.Contains(string(got.body), "not-held") {
		t.Errorf("another's heartbeat in a batch: %s", got.body)
	}
	g.send("POST", "/v1/heartbeats", `["checkout/a-1"]`, mine...).want(t, 200)
	g.send("PUT", "/v1/services/billing/instances/a-1", `{"address":"10.0.0.5"}`, mine...).want(t, 403)
}

func TestACallerIsToldWhatItMayDoAndWhichInstancesAreItsOwn(t *testing.T) {
	g := startGuarded(t)
	spec := domain.TokenSpec{Roles: []string{"service"}, Services: []domain.Pattern{"checkout"}}
	var self wire.Self
	g.send("GET", "/v1/self", "", g.token("keeper", spec)...).want(t, 200).json(t, &self)
	want := wire.Self{Name: "keeper", Controlled: true, Owner: "keeper", Grants: []wire.Grant{{Verbs: []string{"read-catalog", "write-own"}, Namespace: "*", Service: "checkout", Instance: "*"}}}
	if !reflect.DeepEqual(self, want) {
		t.Errorf("%+v, want %+v", self, want)
	}
	var anybody wire.Self
	start(t).send("GET", "/v1/self", "").want(t, 200).json(t, &anybody)
	if anybody.Controlled || anybody.Owner != "" || len(anybody.Grants) == 0 {
		t.Errorf("without access control: %+v", anybody)
	}
}

// A heartbeat with a token takes the lane until the token is revoked.
func TestATokenStaysInTheLaneUntilItIsRevoked(t *testing.T) {
	g := startGuarded(t)
	mine := g.token("mine", domain.TokenSpec{Roles: []string{"service"}})
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, mine...).want(t, 201)
	w := g.dial()
	text := request("PUT", beatA1, mine[0]+": "+mine[1])
	beat := func(text string) int {
		w.say(text)
		return w.hear().StatusCode
	}
	for before := g.api.Lane().Answered(); g.api.Lane().Answered() < before+10; {
		if got := beat(text); got != 200 {
			t.Fatalf("answered %d", got)
		}
	}
	for _, bad := range []string{request("PUT", beatA1), request("PUT", beatA1, "Authorization: Bearer x"), request("PUT", beatA1, mine[0]+": "+mine[1], mine[0]+": "+mine[1])} {
		if got := beat(bad); got != 401 {
			t.Errorf("%q: %d", bad, got)
		}
	}
	if got := beat(text); got != 200 {
		t.Errorf("after bad ones: %d", got)
	}
	if err := g.commands.Do(t.Context(), commands.Caller{}, domain.RevokeToken{Name: "mine"}); err != nil {
		t.Fatal(err)
	}
	if got := beat(text); got != 401 {
		t.Errorf("after the revocation: %d", got)
	}
}

// Nothing is sent to a stream after its token was revoked.
func TestAStreamEndsWithItsToken(t *testing.T) {
	g := startGuarded(t)
	writer := g.token("writer", domain.TokenSpec{Roles: []string{"operator"}})
	reader := g.token("reader", domain.TokenSpec{Roles: []string{"reader"}})
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, writer...).want(t, 201)
	r, err := http.NewRequestWithContext(t.Context(), "GET", g.URL+"/v1/streams/catalog", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(reader[0], reader[1])
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
	}
	if err := g.commands.Do(t.Context(), commands.Caller{}, domain.RevokeToken{Name: "reader"}); err != nil {
		t.Fatal(err)
	}
	g.send("PUT", a1, `{"address":"10.0.0.77"}`, writer...).want(t, 200)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "10.0.0.77") {
			t.Errorf("after the revocation came %s", lines.Text())
		}
	}
}

func TestTokensAndRolesOverHTTP(t *testing.T) {
	g := startGuarded(t)
	admin := g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	g.send("PUT", "/v1/access/roles/deployers", `{"grants":[{"verbs":["read-catalog","write"],"namespace":"shop"}]}`, admin...).want(t, 200)
	g.send("PUT", "/v1/access/roles/admin", `{"grants":[{"verbs":["write"]}]}`, admin...).want(t, 422)
	made := g.send("POST", "/v1/access/tokens", `{"name":"ci","roles":["deployers"],"expires":"2099-01-01T00:00:00Z"}`, admin...)
	made.want(t, 201)
	var token struct{ Secret string }
	made.json(t, &token)
	ci := []string{"Authorization", "Bearer " + token.Secret}
	g.send("PUT", a1+"?ns=shop", `{"address":"10.0.0.5"}`, ci...).want(t, 201)
	if list := g.send("GET", "/v1/access/tokens", "", admin...); strings.Contains(string(list.body), token.Secret) || !strings.Contains(string(list.body), `"last_used"`) {
		t.Errorf("the list: %s", list.body)
	}
	g.send("POST", "/v1/access/tokens", `{"name":"ci","roles":["reader"]}`, admin...).want(t, 409)
	g.send("POST", "/v1/access/tokens", `{"name":"late","roles":["reader"],"expires":"2001-01-01T00:00:00Z"}`, admin...).want(t, 422)
	g.send("POST", "/v1/access/tokens", `{"name":"late","roles":["reader"],"namespaces":[]}`, admin...).want(t, 422)
	g.send("DELETE", "/v1/access/roles/deployers", "", admin...).want(t, 409)
	rotated := g.send("POST", "/v1/access/tokens/ci/rotate", `{"keep_old":"1h"}`, admin...)
	rotated.want(t, 200)
	g.send("GET", "/v1/services?ns=shop", "", ci...).want(t, 200)
	g.send("POST", "/v1/access/tokens/ci/rotate", `{"keep_old":"1000h"}`, admin...).want(t, 422)
	g.send("DELETE", "/v1/access/tokens/ci?reason=stolen", "", admin...).want(t, 204)
	g.send("GET", "/v1/services?ns=shop", "", ci...).want(t, 401)
	g.send("GET", "/v1/access/tokens/ci", "", admin...).want(t, 200)
	g.send("GET", "/v1/access/tokens/nobody", "", admin...).want(t, 404)
	g.send("DELETE", "/v1/access/roles/deployers", "", admin...).want(t, 204)
	g.send("GET", "/v1/access/roles", "", admin...).want(t, 200)
	for _, e := range strings.Split(strings.TrimSpace(string(g.send("GET", "/v1/events", "", admin...).body)), "\n") {
		if strings.Contains(e, commands.SecretPrefix) {
			t.Errorf("an event has a secret: %s", e)
		}
	}
}

func TestAccessCannotBeChangedFromTheNetworkWhileItIsNotControlled(t *testing.T) {
	s := start(t)
	s.send("GET", "/v1/access/tokens", "").want(t, 403)
	s.send("POST", "/v1/access/tokens", `{"name":"x","roles":["admin"]}`).want(t, 403)
	s.send("GET", "/v1/catalog", "", "Authorization", "Bearer x").want(t, 200) // as before
}

// A node that has not been level with the others for too long decides no longer by its own copy of tokens, and again when it is level.
func TestANodeThatIsCutOffForTooLongRefusesCallers(t *testing.T) {
	var stale atomic.Bool
	g := guarded{}
	g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Access, g.commands = &web.Access{Tokens: c.Tokens, Now: time.Now, Stale: stale.Load}, c.AccessCommands
	})
	header := g.token("a", domain.TokenSpec{Roles: []string{"admin"}})
	g.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`, header...).want(t, 201)
	asks := func(want int) {
		t.Helper()
		for _, route := range []string{"GET /v1/services/web/instances", "PUT /v1/services/web/instances/a/heartbeat", "GET /v1/self", "GET /v1/events"} {
			method, path, _ := strings.Cut(route, " ")
			if got := g.begin(method, path, "", header...); got != want {
				t.Errorf("%s: %d, want %d", route, got, want)
			}
		}
	}
	asks(200)
	stale.Store(true)
	asks(503)
	if got := g.begin("GET", "/v1/services", ""); got != 503 {
		t.Errorf("without a token: %d", got)
	}
	g.send("GET", "/healthz", "").want(t, 200)
	stale.Store(false)
	asks(200)
}
