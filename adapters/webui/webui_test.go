package webui_test

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/webui"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

func ask(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost:7700"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	return answer(webui.Config{}, r)
}

func answer(c webui.Config, r *http.Request) *httptest.ResponseRecorder {
	c.Hosts, c.Logger = web.NewHosts("127.0.0.1:7700", nil), slog.New(slog.DiscardHandler)
	w := httptest.NewRecorder()
	webui.New(c).ServeHTTP(w, r)
	return w
}

// assets is the path of the assets that the page names.
func assets(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`/ui/assets/[0-9a-f]{20}/`).FindString(ask(t, "GET", "/ui/").Body.String())
	if found == "" {
		t.Fatal("the page names no assets")
	}
	return found
}

func TestEveryAddressOfTheUIIsThePage(t *testing.T) {
	page := ask(t, "GET", "/ui/").Body.String()
	for _, path := range []string{"/ui/service/shop/checkout?at=5&zone=a", "/ui/instance/shop/checkout/a%3A1", "/ui/audit?event=7", "/ui/nothing"} {
		got := ask(t, "GET", path)
		if got.Code != http.StatusOK || got.Body.String() != page || got.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s", path, got.Code, got.Header())
		}
	}
	if got := ask(t, "GET", "/ui"); got.Code != http.StatusPermanentRedirect || got.Header().Get("Location") != "/ui/" {
		t.Errorf("/ui: %d to %q", got.Code, got.Header().Get("Location"))
	}
	if strings.Contains(page, "{{") {
		t.Errorf("a mark stayed in the page: %s", page)
	}
}

func TestThePageIsAskedForAgainAndItsAssetsAreNot(t *testing.T) {
	page := ask(t, "GET", "/ui/")
	etag := page.Header().Get("ETag")
	if cache := page.Header().Get("Cache-Control"); cache != "no-cache" || etag == "" {
		t.Errorf("the page: Cache-Control %q, ETag %q", cache, etag)
	}
	if got := ask(t, "GET", "/ui/", "If-None-Match", etag); got.Code != http.StatusNotModified || got.Body.Len() != 0 {
		t.Errorf("the same page: %d with %d bytes", got.Code, got.Body.Len())
	}
	script := ask(t, "GET", assets(t)+"app.js")
	if cache := script.Header().Get("Cache-Control"); script.Code != http.StatusOK || cache != "public, max-age=31536000, immutable" {
		t.Errorf("a script: %d, Cache-Control %q", script.Code, cache)
	}
	if got := ask(t, "GET", "/ui/assets/00000000000000000000/app.js"); got.Code != http.StatusNotFound || got.Header().Get("Cache-Control") != "" {
		t.Errorf("a script of another version: %d, Cache-Control %q", got.Code, got.Header().Get("Cache-Control"))
	}
	for _, name := range []string{"index.html", "nothing.js", "..%2fwebui.go"} {
		if got := ask(t, "GET", assets(t)+name); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d", name, got.Code)
		}
	}
}

func TestThePageMayRunAndReachNothingElse(t *testing.T) {
	for _, path := range []string{"/ui/", "/ui", assets(t) + "app.js", "/ui/assets/x/nothing"} {
		h := ask(t, "GET", path).Header()
		policy := h.Get("Content-Security-Policy")
		for _, needed := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, needed) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, needed)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
	page := ask(t, "GET", "/ui/").Body.String()
	if inline := regexp.MustCompile(`<script(>|[^>]*[^"]>)|<style|\son\w+=|https?:`).FindString(page); inline != "" {
		t.Errorf("the page has %q", inline)
	}
}

func TestOnlyGetAndOurHostsAreAnswered(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if got := ask(t, method, "/ui/"); got.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, got.Code)
		}
	}
	if got := ask(t, "HEAD", "/ui/"); got.Code != http.StatusOK {
		t.Errorf("HEAD: %d", got.Code)
	}
	if got := ask(t, "GET", "/ui/", "Host", "evil.example"); got.Code != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", got.Code)
	}
}

// The UI is to weigh less than 150 KB compressed.
func TestTheAssetsAreCompressedAndSmall(t *testing.T) {
	files, err := filepath.Glob("page/*")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, file := range files {
		path, want := assets(t)+filepath.Base(file), ""
		if filepath.Base(file) == "index.html" {
			path = "/ui/"
		} else if b, err := os.ReadFile(file); err == nil {
			want = string(b)
		}
		zipped := ask(t, "GET", path, "Accept-Encoding", "gzip, br")
		sum += zipped.Body.Len()
		if zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v", file, zipped.Header())
		}
		r, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if plain := ask(t, "GET", path, "Accept-Encoding", "gzip;q=0").Body.String(); err != nil || string(got) != plain || want != "" && plain != want {
			t.Errorf("%s is not what it is compressed (%v)", file, err)
		}
	}
	if sum > 150_000 {
		t.Errorf("the UI has %d bytes compressed", sum)
	}
}

var forbidden = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?:[^w]|w[^w])`)

func TestNoScriptTurnsTextIntoMarkup(t *testing.T) {
	scripts, err := filepath.Glob("page/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		b, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		if found := forbidden.Find(b); found != nil {
			t.Errorf("%s has %s", script, found)
		}
	}
}

func TestOnlyThePageThatEndsASignInMayReachTheIssuers(t *testing.T) {
	c := webui.Config{SignIns: func() []web.SignIn {
		return []web.SignIn{
			{Issuer: "https://a.example", ClientID: "page", Exchange: "https://tokens.a.example:8443/oauth/token"},
			{Issuer: "https://b.example", ClientID: "page", Exchange: "https://tokens.a.example:8443/other"},
			{Issuer: "https://c.example", ClientID: "page"},
			{Issuer: "https://d.example", ClientID: "page", Exchange: "https://d.example; script-src */"},
		}
	}}
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost:7700"
		return answer(c, r)
	}
	page := get("/ui/signed-in?code=1&state=2")
	if policy := page.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "; connect-src 'self' https://tokens.a.example:8443; ") {
		t.Errorf("the page after a sign-in has the policy %s", policy)
	}
	if cache := page.Header().Get("Cache-Control"); page.Code != http.StatusOK || cache != "no-store" || page.Header().Get("ETag") != "" {
		t.Errorf("the page after a sign-in: %d, %v", page.Code, page.Header())
	}
	for _, path := range []string{"/ui/", "/ui/signed-in/more", "/ui/sign-in.json", "/ui/operate"} {
		if policy := get(path).Header().Get("Content-Security-Policy"); !strings.Contains(policy, "; connect-src 'self'; ") {
			t.Errorf("%s has the policy %s", path, policy)
		}
	}
	list := get("/ui/sign-in.json")
	if body := list.Body.String(); list.Code != http.StatusOK || !strings.Contains(body, `"issuer":"https://a.example"`) || list.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the list of issuers: %d %s", list.Code, body)
	}
	if body := strings.TrimSpace(ask(t, "GET", "/ui/sign-in.json").Body.String()); body != `{"issuers":[]}` {
		t.Errorf("without issuers: %s", body)
	}
}

// Whoever filters the audit can choose every type of event that the history has.
func TestTheAuditOffersEveryTypeOfEvent(t *testing.T) {
	script, err := os.ReadFile("page/audit.js")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "const types = [")
	list, _, _ = strings.Cut(list, "]")
	var offered []string
	for _, name := range regexp.MustCompile(`"([A-Za-z]+)"`).FindAllStringSubmatch(list, -1) {
		offered = append(offered, name[1])
	}
	slices.Sort(offered)
	want := slices.DeleteFunc(queries.EventTypes(), func(name string) bool { return name == domain.TypeHeartbeatReceived }) // they are counted, not listed
	slices.Sort(want)
	if !slices.Equal(offered, want) {
		t.Errorf("the audit offers %v, and the history has %v", offered, want)
	}
}
