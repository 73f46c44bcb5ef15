package access

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// SignIn is how people sign in with an issuer on the web UI's page: by authorization code with PKCE, as a public client.
type SignIn struct {
	ClientID string   `yaml:"client_id"` // of the page, at the issuer
	Title    string   `yaml:"title"`     // what the page calls the issuer; "": by its name
	Scopes   []string `yaml:"scopes"`    // that the page asks for beside openid
	Token    string   `yaml:"token"`     // which of the issuer's tokens the page shows the registry: idToken unless said
}

// The tokens that an issuer gives for a code.
const (
	idToken     = "id_token"
	accessToken = "access_token"
)

// maxTitle is how many bytes a title has at most.
const maxTitle = 64

var scopeText = regexp.MustCompile(`^[!#-\[\]-~]{1,128}$`) // RFC 6749, section 3.3

func (s *SignIn) check(audiences []string) (field string, err error) {
	if s.Token == "" {
		s.Token = idToken
	}
	switch {
	case s.ClientID == "" || len(s.ClientID) > web.MaxName || !web.Printable(s.ClientID):
		return "client_id", errors.New("must be the page's name at the issuer")
	case len(s.Title) > maxTitle || s.Title != "" && !web.Printable(s.Title):
		return "title", errors.New("must be at most 64 bytes that can be printed")
	case s.Token != idToken && s.Token != accessToken:
		return "token", errors.New("must be id_token or access_token")
	case s.Token == idToken && !slices.Contains(audiences, s.ClientID):
		return "client_id", errors.New("must be one of the audiences: an ID token is meant for its client")
	}
	for _, text := range s.Scopes {
		if !scopeText.MatchString(text) {
			return "scopes", errors.New("must each be a scope, without spaces")
		}
	}
	return "", nil
}

// endpoints are where an issuer signs people in, as its discovery document says.
type endpoints struct {
	authorization, token string // "": the issuer has none, or none that may be used
}

// usable is an endpoint that a browser may be sent to; "": it is none. What has another host than a plain one could not be
// named in a Content-Security-Policy.
func usable(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.User != nil || u.Fragment != "" || web.OriginOf(endpoint) == "" {
		return ""
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) {
		return ""
	}
	return endpoint
}

// SignIns are the issuers with which people may sign in on the web UI's page, in the order of the file.
func (c *Callers) SignIns() []web.SignIn {
	all := []web.SignIn{}
	r := c.rules.Load()
	for i := range r.config.Issuers {
		settings := &r.config.Issuers[i]
		s := settings.SignIn
		if s == nil {
			continue
		}
		title := s.Title
		if title == "" {
			title = settings.Name
		}
		shown := web.SignIn{
			Title: title, Issuer: settings.URL, ClientID: s.ClientID, Token: s.Token,
			Scope: strings.Join(append([]string{"openid"}, slices.DeleteFunc(slices.Clone(s.Scopes), func(one string) bool { return one == "openid" })...), " "),
		}
		if known := r.issuers[settings.URL].keys.endpoints.Load(); known != nil {
			shown.Authorization, shown.Exchange = known.authorization, known.token
		}
		all = append(all, shown)
	}
	return all
}
