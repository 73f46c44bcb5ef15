package access

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// TryClaims says whom a token with these claims, in JSON, would name, and what it would get, if it were good. issuer may be left out
// where there is one.
func (c *Config) TryClaims(issuer string, claims []byte) (*web.Caller, error) {
	read, err := readClaims(claims)
	if err != nil {
		return nil, fmt.Errorf("the claims must be a JSON object: %w", err)
	}
	var names []string
	for i := range c.Issuers {
		names = append(names, c.Issuers[i].Name)
		if c.Issuers[i].Name == issuer || issuer == "" && len(c.Issuers) == 1 {
			return c.Issuers[i].caller(read, time.Time{})
		}
	}
	return nil, fmt.Errorf("issuer must be one of the file's: %s", strings.Join(names, ", "))
}

// TryCertificate says what a certificate with a name, spiffe://… or cn:…, would get.
func (c *Config) TryCertificate(name string) (*web.Caller, error) {
	if !strings.HasPrefix(name, "spiffe://") && !strings.HasPrefix(name, web.SubjectPrefix) {
		return nil, errors.New("certificate must be a name: spiffe://… or cn:…")
	}
	return workload(name, time.Time{}, c.Certificates), nil
}
