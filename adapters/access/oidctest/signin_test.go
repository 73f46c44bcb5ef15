package oidctest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// pageClient is the name that the web UI's page has at the provider.
const pageClient = "rollcall-ui"

// browserTests is the npm package that opens the web UI in a browser.
const browserTests = "../../webui/browsertest"

const loginForm = `<!doctype html><title>Log in</title><form method="post" action="/login/username"><input type="hidden" name="id" value="%s">
<input name="username"><input name="password" type="password"><button>Log in</button></form>`

// withLogin adds the page on which people give their names and passwords.
func (p *provider) withLogin(made *op.Provider) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", made)
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, loginForm, r.FormValue("authRequestID"))
	})
	back := op.AuthCallbackURL(made)
	mux.Handle("POST /login/username", op.NewIssuerInterceptor(made.IssuerFromRequest).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := p.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, back(r.Context(), id), http.StatusFound)
	}))
	return mux
}

// GetClientByClientID implements op.Storage.
func (p *provider) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id != pageClient || p.redirect == "" {
		return nil, errors.New("there is no such client")
	}
	return storage.NativeClient(pageClient, p.redirect), nil
}

// People sign in on the web UI's page by code and PKCE, in a real browser with a real provider.
func TestPeopleSignInOnThePage(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium; make tools installs it")
	}
	if _, err := os.Stat(filepath.Join(browserTests, "node_modules")); err != nil {
		run(t, "npm", "ci", "--no-audit", "--no-fund")
	}
	p := startProvider(t, accounts)
	r := startRegistry(t, fmt.Sprintf(`issuers:
  - name: corp
    url: %s
    ca: %s
    audiences: [rollcall, %[3]s]
    sign_in: { client_id: %[3]s, title: "Corp's directory", scopes: [profile] }
    rules:
      - claims: { sub: id1 }
        roles: [operator]
`, p.server.URL, p.ca, pageClient))
	p.mu.Lock()
	p.redirect = r.url + "/ui/signed-in"
	p.mu.Unlock()
	t.Setenv("CHROMIUM", browser)
	t.Log(run(t, "node", "signin.js", r.url, p.server.URL, r.admin()))
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = browserTests
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
