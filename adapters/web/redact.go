package web

import (
	"net/url"
	"regexp"
	"strings"
)

// redacted stands in the log for what may be a secret.
const redacted = "REDACTED"

// secretToken is the form of the registry's tokens and of issuers' (JWT), wherever they stand.
var secretToken = regexp.MustCompile(`rollcall_[0-9a-fA-F]{16,}|eyJ[\w-]+\.[\w-]+\.[\w-]*`)

// secretNames are parts of names of parameters whose values are not for the log. No parameter of the API has one of these:
// a client that sends its token in the URL has it refused, and it must not stay in the log.
var secretNames = []string{"token", "secret", "passw", "pwd", "key", "auth", "sig", "cred", "session", "jwt", "bearer"}

// redactQuery is a query as the log may show it.
func redactQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if ok && value != "" && namesSecret(name) {
			pairs[i] = url.QueryEscape(name) + "=" + redacted
		}
	}
	return redactText(strings.Join(pairs, "&"))
}

func namesSecret(name string) bool {
	name = strings.ToLower(name)
	for _, s := range secretNames {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// redactText is a text without tokens.
func redactText(text string) string {
	if !strings.Contains(text, "rollcall_") && !strings.Contains(text, "eyJ") { // nearly always
		return text
	}
	return secretToken.ReplaceAllString(text, redacted)
}
