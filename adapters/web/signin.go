package web

import (
	"net/url"
	"regexp"
)

// SignIn is how people may sign in with an issuer, as the web UI's page is told: by authorization code with PKCE.
type SignIn struct {
	Title         string `json:"title"`
	Issuer        string `json:"issuer"` // as its tokens have it
	ClientID      string `json:"client_id"`
	Scope         string `json:"scope"`
	Token         string `json:"token"`                            // which of the issuer's tokens the registry takes: id_token or access_token
	Authorization string `json:"authorization_endpoint,omitempty"` // "": the issuer could not be asked yet
	Exchange      string `json:"token_endpoint,omitempty"`         // "": as above
}

var plainOrigin = regexp.MustCompile(`^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// OriginOf is the origin of a URL, in letters that a policy may hold; "": there is none.
func OriginOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || !plainOrigin.MatchString(u.Scheme+"://"+u.Host) {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
