package access

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

func TestThePageIsToldWherePeopleSignInOnceTheIssuerWasAsked(t *testing.T) {
	w := newWorld(t)
	issuer := w.issuer.URL
	w.issuer.discovery.Store(func(answer http.ResponseWriter) {
		fmt.Fprintf(answer, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":"%[1]s/authorize","token_endpoint":"https://tokens.example:8443/token"}`, issuer, issuer+"/keys")
	})
	if got := w.SignIns(); len(got) != 0 {
		t.Errorf("an issuer without sign_in is offered: %v", got)
	}
	w.write(strings.Replace(w.file("rollcall", "reader"), "    rules:", "    sign_in: { client_id: other, scopes: [groups, openid] }\n    rules:", 1))
	w.use(nil, mustRead(t, w.path))
	want := web.SignIn{Title: "ci", Issuer: issuer, ClientID: "other", Scope: "openid groups", Token: "id_token"}
	if got := w.SignIns(); !reflect.DeepEqual(got, []web.SignIn{want}) {
		t.Errorf("before the issuer was asked: %+v", got)
	}
	w.run()
	want.Authorization, want.Exchange = issuer+"/authorize", "https://tokens.example:8443/token"
	w.until("the endpoints are known", func() bool { return reflect.DeepEqual(w.SignIns(), []web.SignIn{want}) })
	w.use(nil, mustRead(t, w.path))
	if got := w.SignIns(); !reflect.DeepEqual(got, []web.SignIn{want}) {
		t.Errorf("after the file was read again: %+v", got)
	}
}

func mustRead(t *testing.T, path string) *Config {
	t.Helper()
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNoBrowserIsSentToAnEndpointThatOthersCouldChange(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"https://a.example/token":         true,
		"https://a.example:8443/t?x=1":    true,
		"http://127.0.0.1:5556/token":     true,
		"http://[::1]:5556/token":         true,
		"http://a.example/token":          false,
		"https://a.example;x/token":       false,
		"https://a'b.example/token":       false,
		"https://user:word@a.example/t":   false,
		"https://a.example/t#part":        false,
		"javascript:alert(1)":             false,
		"//a.example/token":               false,
		"":                                false,
		"https://*.example/token":         false,
		"https://a.example https://b.org": false,
	} {
		if got := usable(endpoint); (got != "") != good || good && got != endpoint {
			t.Errorf("%q gives %q", endpoint, got)
		}
	}
}

func TestABadSignInIsRefusedByItsLine(t *testing.T) {
	for by, want := range map[string]string{
		"{}":                                     "line 8: issuers.0.sign_in.client_id",
		"{ client_id: another }":                 "line 8: issuers.0.sign_in.client_id must be one of the audiences",
		"{ client_id: rollcall, token: both }":   "line 8: issuers.0.sign_in.token",
		"{ client_id: rollcall, scopes: [a b] }": "line 8: issuers.0.sign_in.scopes",
		"{ client_id: rollcall, secret: x }":     "line 8: field secret",
		"{ client_id: rollcall, title: " + strings.Repeat("x", maxTitle+1) + " }": "line 8: issuers.0.sign_in.title",
	} {
		content := strings.Replace(goodFile, "    token_file", "    sign_in: "+by+"\n    token_file", 1)
		if _, err := Read(write(t, content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", by, err)
		}
	}
	good := strings.Replace(goodFile, "    token_file", "    sign_in: { client_id: page, token: access_token }\n    token_file", 1)
	if _, err := Read(write(t, good)); err != nil {
		t.Errorf("an access token may be meant for another audience than the page: %v", err)
	}
}
