package access

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// maxToken is the length of the longest token that is looked at, in bytes.
const maxToken = 16 << 10

// issuer verifies the tokens of one issuer.
type issuer struct {
	*Issuer
	keys *keys
	now  func() time.Time
}

// issuerOf is the issuer that an unverified token names; ok is false where it is no token.
func issuerOf(token []byte) (name string, ok bool) {
	if len(token) > maxToken {
		return "", false
	}
	_, rest, _ := bytes.Cut(token, []byte{'.'})
	payload, _, _ := bytes.Cut(rest, []byte{'.'})
	decoded, err := base64.RawURLEncoding.AppendDecode(nil, payload)
	if err != nil {
		return "", false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	err = json.Unmarshal(decoded, &claims)
	return claims.Issuer, err == nil && claims.Issuer != ""
}

// registered are the claims that every token has (RFC 7519). Times are Unix seconds.
type registered struct {
	Issuer    string
	Audience  audience
	Expires   *float64
	NotBefore *float64
	IssuedAt  *float64
}

// readRegistered reads the registered claims by their exact names. A struct with tags would also take AUD or Exp, which are claims of
// another name, and which an issuer may let its users choose.
func readRegistered(payload []byte) (r registered, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(payload, &all); err != nil {
		return r, err
	}
	for name, into := range map[string]any{"iss": &r.Issuer, "aud": &r.Audience, "exp": &r.Expires, "nbf": &r.NotBefore, "iat": &r.IssuedAt} {
		if value, ok := all[name]; ok {
			err = errors.Join(err, json.Unmarshal(value, into))
		}
	}
	return r, err
}

// audience is a text or a list of texts.
type audience []string

// UnmarshalJSON reads either.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// The reasons for which a token is refused. They are for the log; its bearer learns none of them.
var (
	errIssuer    = errors.New("the token is another issuer's")
	errAudience  = errors.New("the token is for another audience")
	errNoExpiry  = errors.New("the token never expires")
	errExpired   = errors.New("the token has expired")
	errNotYet    = errors.New("the token is not good yet")
	errNoActor   = errors.New("the token names nobody in the claim that names the caller")
	errLongActor = fmt.Errorf("the token's name for the caller is longer than %d bytes", web.MaxName)
)

// check checks what the claims say about the token itself, and gives the time at which it ends.
func (i *issuer) check(r registered) (expires time.Time, err error) {
	now, skew := float64(i.now().Unix()), i.skew().Seconds()
	switch {
	case r.Issuer != i.URL:
		return expires, errIssuer
	case !slices.ContainsFunc(r.Audience, func(a string) bool { return slices.Contains(i.Audiences, a) }):
		return expires, errAudience
	case r.Expires == nil:
		return expires, errNoExpiry
	case now >= *r.Expires+skew:
		return expires, errExpired
	case r.NotBefore != nil && now+skew < *r.NotBefore, r.IssuedAt != nil && now+skew < *r.IssuedAt:
		return expires, errNotYet
	}
	const century = 100 * 365 * 24 * 3600 // what ends later ends never
	return time.Unix(int64(min(*r.Expires+skew, now+century)), 0), nil
}

// caller is whom a token names, with what the rules grant.
func (i *issuer) caller(ctx context.Context, token string) (*web.Caller, error) {
	payload, err := i.keys.verifySignature(ctx, token)
	if err != nil {
		return nil, err
	}
	about, err := readRegistered(payload)
	if err != nil {
		return nil, err
	}
	expires, err := i.check(about)
	if err != nil {
		return nil, err
	}
	claims, err := readClaims(payload)
	if err != nil {
		return nil, err
	}
	return i.Issuer.caller(claims, expires)
}

// readClaims reads a token's claims. Numbers stay as they are written.
func readClaims(payload []byte) (claims map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	err = decoder.Decode(&claims)
	return claims, err
}

// caller is whom claims name, with what the rules grant.
func (i *Issuer) caller(claims map[string]any, expires time.Time) (*web.Caller, error) {
	actor, _ := claims[i.Actor].(string)
	if actor == "" || !web.Printable(actor) {
		return nil, errNoActor
	}
	if actor = i.Name + ":" + actor; len(actor) > web.MaxName {
		return nil, errLongActor
	}
	var rights []domain.TokenSpec
	for j := range i.Rules {
		rights = append(rights, i.Rules[j].rule.grant(claims)...)
	}
	return web.NewCaller(web.ByJWT, actor, rights[:min(len(rights), maxRights)], expires), nil
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil { // the file was checked
		return ""
	}
	return u.Host
}
