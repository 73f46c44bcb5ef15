package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Config is the file of --access-config, in YAML or JSON.
type Config struct {
	Anonymous    *Rights           `yaml:"anonymous"` // of callers whom nothing names; nil: none
	Issuers      []Issuer          `yaml:"issuers"`
	Certificates []CertificateRule `yaml:"certificates"`
}

// Issuer is whose tokens are trusted.
type Issuer struct {
	Name       string         `yaml:"name"` // begins the actors that the issuer names
	URL        string         `yaml:"url"`  // as the tokens' iss has it
	Audiences  []string       `yaml:"audiences"`
	CA         string         `yaml:"ca"`         // file in PEM; "": the system's authorities
	TokenFile  string         `yaml:"token_file"` // shown to the issuer when its keys are fetched; "": none
	Algorithms []string       `yaml:"algorithms"` // none: all that are known
	Skew       *time.Duration `yaml:"skew"`       // how far the clocks may be apart; nil: defaultSkew
	Actor      string         `yaml:"actor"`      // the claim that names the caller; "": sub
	SignIn     *SignIn        `yaml:"sign_in"`    // on the web UI's page; nil: nobody signs in there with the issuer
	Rules      []ClaimRule    `yaml:"rules"`
}

// ClaimRule grants rights to tokens with certain claims.
type ClaimRule struct {
	Claims yaml.Node `yaml:"claims"`
	Rights `yaml:",inline"`

	rule rule
}

// CertificateRule grants rights to certificates with a name: one of SPIFFE or CommonName is set.
type CertificateRule struct {
	SPIFFE     string `yaml:"spiffe"`
	CommonName string `yaml:"common_name"`
	Rights     `yaml:",inline"`

	text *text
}

// Limits of the file and its fields.
const (
	maxFile     = 1 << 20 // bytes
	defaultSkew = 30 * time.Second
	maxSkew     = 10 * time.Minute
)

// algorithms are the signatures that are taken. Those whose key the registry would have to keep secret are not.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

var issuerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// reservedNames begin the actors that certificates name.
var reservedNames = []string{"spiffe", "cn"}

// atLine is an error that is at a line of the file.
type atLine struct {
	line int
	err  error
}

func (e atLine) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.err) }
func (e atLine) Unwrap() error { return e.err }

// Read reads and checks a file. An error is one line, which names the file.
func Read(path string) (*Config, error) {
	content, err := durable.ReadAtMost(path, maxFile)
	if err != nil {
		return nil, err
	}
	return parse(path, content)
}

// The words of the YAML library that name types of Go.
var (
	wrongKind    = regexp.MustCompile("cannot unmarshal !!\\w+( `[^`]*`)? into [^\\s;]+")
	unknownField = regexp.MustCompile(`field (\S+) not found in type [^\s;]+`)
)

// YAMLWords is an error of the YAML library in a line for people.
func YAMLWords(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var types *yaml.TypeError
	if errors.As(err, &types) {
		text = strings.Join(types.Errors, "; ")
	}
	text = wrongKind.ReplaceAllString(text, "the value$1 is of another kind than belongs there")
	return unknownField.ReplaceAllString(strings.ReplaceAll(text, "\n", "; "), "field $1 is not known")
}

// Summary says in a line what the file has.
func (c *Config) Summary() string {
	rules, anonymous := 0, "no role"
	for i := range c.Issuers {
		rules += len(c.Issuers[i].Rules)
	}
	if c.Anonymous != nil {
		anonymous = strings.Join(c.Anonymous.Roles, ", ")
	}
	return fmt.Sprintf("issuers: %d, with rules: %d; rules for certificates: %d; callers whom nothing names get: %s", len(c.Issuers), rules, len(c.Certificates), anonymous)
}

func parse(path string, content []byte) (*Config, error) {
	c := &Config{}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	err := decoder.Decode(c)
	if err == nil && !errors.Is(decoder.Decode(&yaml.Node{}), io.EOF) {
		err = errors.New("the file must hold one document")
	}
	if errors.Is(err, io.EOF) { // a file that is being written may be empty for a moment
		err = errors.New("the file is empty")
	}
	var root yaml.Node
	if err == nil {
		err = yaml.Unmarshal(content, &root)
	}
	if err == nil {
		err = checkEmpty(&root)
	}
	if err == nil {
		err = c.check(&root)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, YAMLWords(err))
	}
	return c, nil
}

// check checks what the fields say, and compiles the rules.
func (c *Config) check(root *yaml.Node) error {
	if c.Anonymous != nil {
		if field, err := c.Anonymous.check(nil); err != nil {
			return refuse(root, err, "anonymous", field)
		}
	}
	for i := range c.Issuers {
		if err := c.checkIssuer(root, i); err != nil {
			return err
		}
	}
	for i := range c.Certificates {
		if field, err := c.Certificates[i].check(); err != nil {
			return refuse(root, err, "certificates", i, field)
		}
	}
	return nil
}

func (c *Config) checkIssuer(root *yaml.Node, i int) error {
	issuer := &c.Issuers[i]
	if field, err := issuer.check(); err != nil {
		return refuse(root, err, "issuers", i, field)
	}
	if issuer.SignIn != nil {
		if field, err := issuer.SignIn.check(issuer.Audiences); err != nil {
			return refuse(root, err, "issuers", i, "sign_in", field)
		}
	}
	for _, other := range c.Issuers[:i] {
		if other.Name == issuer.Name {
			return refuse(root, errors.New("must not be another issuer's"), "issuers", i, "name")
		}
		if other.URL == issuer.URL {
			return refuse(root, errors.New("must not be another issuer's"), "issuers", i, "url")
		}
	}
	for j := range issuer.Rules {
		r := &issuer.Rules[j]
		found, err := conditions(&r.Claims, nil)
		if at := (atLine{}); errors.As(err, &at) && at.line > 0 {
			return err
		}
		if err != nil || len(found) == 0 {
			return refuse(root, errors.New(`must name a claim: a rule without one would be for every token ({sub: "*"} is)`), "issuers", i, "rules", j, "claims")
		}
		r.rule = rule{conditions: found, rights: r.Rights}
		if field, err := r.Rights.check(r.rule.names()); err != nil {
			return refuse(root, err, "issuers", i, "rules", j, field)
		}
	}
	return nil
}

func (i *Issuer) check() (field string, err error) {
	switch {
	case !issuerName.MatchString(i.Name) || slices.Contains(reservedNames, i.Name):
		return "name", errors.New("must be 1-32 bytes of a-z 0-9 -, and not spiffe or cn")
	case !secureURL(i.URL):
		return "url", errors.New("must be https://…, or http:// and a loopback address, without a query")
	case len(i.Audiences) == 0 || slices.Contains(i.Audiences, ""):
		return "audiences", errors.New("must name an audience: a token that is meant for another service would be good here")
	case i.Skew != nil && (*i.Skew < 0 || *i.Skew > maxSkew || *i.Skew%time.Second != 0):
		return "skew", fmt.Errorf("must be 0s to %s, in whole seconds", maxSkew)
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(algorithms, a) {
			return "algorithms", fmt.Errorf("must be of %s, not %q", strings.Join(algorithms, ", "), a)
		}
	}
	if i.Actor == "" {
		i.Actor = "sub"
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = algorithms
	}
	if i.CA != "" {
		if _, err := authorities(i.CA); err != nil {
			return "ca", err
		}
	}
	return "", nil
}

// skew is how far the issuer's clock and ours may be apart.
func (i *Issuer) skew() time.Duration {
	if i.Skew == nil {
		return defaultSkew
	}
	return *i.Skew
}

// secureURL says whether nobody on the way can change what the URL gives.
func secureURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (r *CertificateRule) check() (field string, err error) {
	field, pattern := "spiffe", r.SPIFFE
	if r.CommonName != "" {
		field, pattern = "common_name", r.CommonName
	}
	if (r.SPIFFE == "") == (r.CommonName == "") {
		return "spiffe", errors.New("or common_name must be given, and only one of them")
	}
	if r.SPIFFE != "" {
		domain, _, _ := strings.Cut(strings.TrimPrefix(r.SPIFFE, "spiffe://"), "/")
		if !strings.HasPrefix(r.SPIFFE, "spiffe://") || domain == "" || strings.ContainsAny(domain, "{}*") {
			return field, errors.New("must be spiffe://, the name of a trust domain, and a path")
		}
	}
	if r.text, err = parseText(pattern); err != nil {
		return field, err
	}
	return r.Rights.check(r.text.names)
}

// refuse says which field of the file breaks a rule, and where.
func refuse(root *yaml.Node, err error, path ...any) error {
	var name strings.Builder
	for i, p := range path {
		if i > 0 && p != "" {
			name.WriteByte('.')
		}
		fmt.Fprint(&name, p)
	}
	return atLine{lineOf(root, path), fmt.Errorf("%s %w", name.String(), err)}
}

// lineOf is the line of the deepest part of a path that the file has.
func lineOf(n *yaml.Node, path []any) int {
	for n.Kind == yaml.DocumentNode || n.Kind == yaml.AliasNode {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
			continue
		}
		n = n.Content[0]
	}
	if len(path) == 0 {
		return n.Line
	}
	switch key := path[0].(type) {
	case int:
		if n.Kind == yaml.SequenceNode && key < len(n.Content) {
			return lineOf(n.Content[key], path[1:])
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return max(n.Content[i].Line, lineOf(n.Content[i+1], path[1:]))
			}
		}
	}
	return n.Line
}
