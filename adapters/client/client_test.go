package client_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// answer is a registry that gives everybody the same answer.
func answer(t *testing.T, status int, body string) *client.Client {
	return registry(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Rollcall-Position", "42")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

var key = domain.Key{Service: "web", ID: "a"}

func TestBadURLsAreRefused(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:7700", "ftp://host", "http://", "http://host/?a=b", "http://host/#a", "://", "http://ho st"} {
		if _, err := client.New(url, client.Options{}); !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestATokenIsReadFromItsFileForEachRequest(t *testing.T) {
	var shown string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Rollcall-Position", "9")
		shown = r.Header.Get("Authorization")
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	c, err := client.New(server.URL, client.Options{TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Call(t.Context(), http.MethodGet, "/", nil, nil); err != nil || shown != "Bearer "+token {
			t.Errorf("%q is shown for %s: %v", shown, token, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), http.MethodGet, "/", nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
}

func TestARefusalIsAProblem(t *testing.T) {
	c := answer(t, http.StatusGone, `{"type":"urn:rollcall:problem:instance-gone","status":410,"detail":"instance default/web/a is gone","event":{"position":"7","type":"LeaseExpired"}}`)
	_, err := c.Instance(t.Context(), key, "")
	var refused *wire.Problem
	if !errors.As(err, &refused) || refused.Status != http.StatusGone || refused.Event.Type != "LeaseExpired" || err.Error() != "instance default/web/a is gone" {
		t.Errorf("%+v, %v", refused, err)
	}
}

func TestWhatIsNoRegistryIsToldInALine(t *testing.T) {
	for _, said := range []struct {
		status int
		body   string
		want   string
	}{
		{404, "<html>not found</html>", "404 Not Found"},
		{404, `{"status":404,"detail":"no such page"}`, "404 Not Found"}, // another server's problem
		{502, "", "502 Bad Gateway"},
		{304, "", "304 Not Modified"},
		{200, "<html>welcome</html>", "200 OK"},
		{200, "", "200 OK"},
	} {
		c := answer(t, said.status, said.body)
		_, err := c.Services(t.Context(), "", "")
		var other *client.NotRollcall
		if !errors.As(err, &other) || !strings.HasPrefix(err.Error(), c.URL()+" is not a Rollcall server: it answered "+said.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d %q: %v", said.status, said.body, err)
		}
	}
}

// A page that answers everything with 200 is no registry, however it is asked.
func TestAStreamOfWhatIsNoRegistryEnds(t *testing.T) {
	c := answer(t, http.StatusOK, "<html>welcome</html>\n")
	ends := map[string]error{}
	for _, err := range c.Follow(t.Context(), client.FollowQuery{}) {
		ends["follow"] = err
	}
	for _, err := range c.Events(t.Context(), client.EventQuery{}) {
		ends["events"] = err
	}
	for _, err := range c.StreamEvents(t.Context(), client.EventQuery{}) {
		ends["stream"] = err
	}
	for _, how := range []string{"follow", "events", "stream"} {
		if err := ends[how]; !errors.As(err, new(*client.NotRollcall)) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s ends with %v", how, err)
		}
	}
}

// After 101 comes the bare connection, whose reads no timeout ends. What answers so is no registry, however it is asked.
func TestAServerThatBeginsAnotherProtocolIsNoRegistry(t *testing.T) {
	done := make(chan struct{})
	c := registry(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-done
	})
	t.Cleanup(func() { close(done) })
	ends := map[string]error{}
	_, ends["a query"] = c.Services(t.Context(), "", "")
	_, ends["a command"] = c.Heartbeat(t.Context(), key)
	for _, err := range c.Follow(t.Context(), client.FollowQuery{}) {
		ends["a stream"] = err
	}
	for how, err := range ends {
		if !errors.As(err, new(*client.NotRollcall)) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestNoAnswerIsToldInALine(t *testing.T) {
	c, err := client.New("http://127.0.0.1:1", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Heartbeat(t.Context(), key)
	if !errors.As(err, new(*client.Unreachable)) || !strings.HasPrefix(err.Error(), "no answer from http://127.0.0.1:1: dial tcp") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

func TestAnAnswerThatBreaksOffIsNoAnswer(t *testing.T) {
	c := registry(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"services":[]`)
	})
	if _, err := c.Services(t.Context(), "", ""); !errors.As(err, new(*client.Broken)) {
		t.Errorf("%v", err)
	}
}

// A redirect that would turn a command into a GET is not followed: the command would be lost and pass
// for carried out.
func TestNoRedirectTurnsACommandIntoAQuery(t *testing.T) {
	moved := registry(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/new" {
			fmt.Fprintf(w, `{"namespace":"kept","service":"web","id":"a","position":"7","epoch":1,"version":%q,"outcome":%q}`, r.Method, r.Method)
			return
		}
		status := http.StatusMovedPermanently
		if r.URL.Query().Get("ns") == "kept" {
			status = http.StatusPermanentRedirect
		}
		http.Redirect(w, r, "/new", status)
	})
	if _, err := moved.Heartbeat(t.Context(), key); !errors.As(err, new(*client.NotRollcall)) {
		t.Errorf("a redirected command: %v", err)
	}
	if done, err := moved.Heartbeat(t.Context(), domain.Key{Namespace: "kept", Service: "web", ID: "a"}); err != nil || done.Value.Outcome != "PUT" {
		t.Errorf("a command that is redirected as it is: %+v, %v", done, err)
	}
	if seen, err := moved.Instance(t.Context(), key, ""); err != nil || seen.Value.Version != "GET" {
		t.Errorf("a redirected query: %+v, %v", seen, err)
	}
}

// Every command names the instance in the path, the namespace and its condition where the API takes them.
func TestCommandsSayWhatTheAPITakes(t *testing.T) {
	var asked string
	c := registry(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = strings.TrimSpace(fmt.Sprint(r.Method, " ", r.URL.RequestURI(), " ", r.Header.Get("If-Match"), " ", string(body)))
		w.WriteHeader(http.StatusCreated)
		of := strings.Split(r.URL.Path+"/////", "/")
		fmt.Fprintf(w, `{"namespace":%q,"service":"web","id":%q,`, r.URL.Query().Get("ns"), of[5])
		_, _ = io.WriteString(w, `"position":"7","epoch":2,"succeeded":[{"index":0,"id":"a","position":"6"}],"failed":[{"index":1,"problem":{"type":"urn:rollcall:problem:unknown-instance","status":404}}]}`)
	})
	for name, send := range map[string]func() error{
		`PUT /v1/services/web/instances/a/heartbeat?ns=default`:         func() error { _, err := c.Heartbeat(t.Context(), key); return err },
		`PUT /v1/services/web/instances/a/heartbeat?epoch=3&ns=default`: func() error { _, err := c.Heartbeat(t.Context(), key, client.OfEpoch(3)); return err },
		`PUT /v1/services/web/instances/a/health?ns=default "4" {"status":"critical","output":"full","epoch":3}`: func() error {
			_, err := c.ReportHealth(t.Context(), key, client.Health{Status: domain.Critical, Output: "full"}, client.OfEpoch(3), client.AtRevision(4))
			return err
		},
		`PUT /v1/services/web/instances/a/traffic?ns=prod  {"traffic":"draining","reason":"deploy"}`: func() error {
			_, err := c.ChangeTraffic(t.Context(), domain.Key{Namespace: "prod", Service: "web", ID: "a"}, domain.Draining, "deploy")
			return err
		},
		`DELETE /v1/services/web/instances/a:1?epoch=2&ns=default&reason=scaled+down`: func() error {
			_, err := c.Deregister(t.Context(), domain.Key{Service: "web", ID: "a:1"}, "scaled down", client.OfEpoch(2))
			return err
		},
		`POST /v1/heartbeats  ["default/web/a","prod/web/b"]`: func() error {
			done, err := c.Heartbeats(t.Context(), []domain.Key{key, {Namespace: "prod", Service: "web", ID: "b"}})
			if r, ok := done.Value.InOrder(2); err == nil && (!ok || r[0].Problem != nil || r[0].ID != "a" || r[1].Problem.Status != 404) {
				t.Errorf("a batch's answer is %+v", done.Value)
			}
			if _, err := c.Heartbeats(t.Context(), []domain.Key{key, key, key}); !errors.As(err, new(*client.NotRollcall)) {
				t.Errorf("an answer without the third item gave %v", err)
			}
			done, err = c.Heartbeats(t.Context(), []domain.Key{key, {Namespace: "prod", Service: "web", ID: "b"}})
			return err
		},
	} {
		if err := send(); err != nil || asked != name {
			t.Errorf("%v\nasked %s\nwant  %s", err, asked, name)
		}
	}
	if done, err := c.Register(t.Context(), key, domain.Details{Address: "10.0.0.5"}); err != nil || !done.Created || done.Value.Epoch != 2 || !strings.Contains(asked, `"address":"10.0.0.5"`) {
		t.Errorf("%+v, %v; asked %s", done, err, asked)
	}
	if _, err := c.Heartbeat(t.Context(), domain.Key{Service: "web"}); !errors.As(err, new(domain.InvalidField)) {
		t.Errorf("a key without an id: %v", err)
	}
}

func TestAReplyCarriesThePositionAndTheBytes(t *testing.T) {
	body := `{"position":"40","services":[{"service":"web","instances":2}], "new_field": 1}`
	list, err := answer(t, http.StatusOK, body).Services(t.Context(), "", "")
	if err != nil || list.Position.Number != 42 || string(list.Raw) != body || list.Value.Services[0].Instances != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}
