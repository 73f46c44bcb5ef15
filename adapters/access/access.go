// Package access knows callers for whom others vouch: issuers of tokens (JWT by OpenID Connect), and the authorities of
// client certificates (SPIFFE ids, or subjects). A file has the rules that map them to roles.
//
// It promises that a caller who was verified costs one look-up in memory, that an issuer that is away stops nobody whose
// key is known, and that no caller can make it ask an issuer more than now and then. What roles grant is decided by
// others (projections/access, domain).
package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Options are what Open needs.
type Options struct {
	File      string             // the rules; "": there are none
	Anonymous []domain.TokenSpec // of callers whom nothing names, where the file does not say
	Now       func() time.Time
	Logger    *slog.Logger
	// Role says whether a role exists. A rule may name one that is made later; the log tells of it.
	Role func(name string) bool
}

// Callers implements web.Vouched.
type Callers struct {
	options Options
	version atomic.Uint64
	rules   atomic.Pointer[rules]
	reload  chan struct{}
}

// rules are what one version of the file says. They do not change, but for the keys and what is remembered.
type rules struct {
	content    []byte
	config     *Config
	anonymous  []domain.TokenSpec
	issuers    map[string]*issuer // by URL
	remembered *lru.Cache[[sha256.Size]byte, remembered]
}

// remembered is a caller who was verified.
type remembered struct {
	caller    *web.Caller
	keys      *keys  // with which; nil: the caller has a certificate
	withdrawn uint64 // of the keys, before they were used: when it changes, the caller's key may be gone
}

// maxRemembered is how many tokens and certificates are remembered; those that were not used for the longest time are
// forgotten first.
const maxRemembered = 16_384

// Open reads the file. No issuer is asked before Run.
func Open(options Options) (*Callers, error) {
	c := &Callers{options: options, reload: make(chan struct{}, 1)}
	if options.File == "" {
		c.use(nil, &Config{})
		return c, nil
	}
	content, err := durable.ReadAtMost(options.File, maxFile)
	if err != nil {
		return nil, err
	}
	config, err := parse(options.File, content)
	if err != nil {
		return nil, err
	}
	c.use(content, config)
	return c, nil
}

// use puts a version of the file in force. Keys of issuers that stay are kept.
func (c *Callers) use(content []byte, config *Config) {
	next := &rules{content: content, config: config, anonymous: c.options.Anonymous, issuers: map[string]*issuer{}}
	next.remembered, _ = lru.New[[sha256.Size]byte, remembered](maxRemembered) // it fails for a negative size only
	if config.Anonymous != nil {
		next.anonymous = []domain.TokenSpec{config.Anonymous.spec(nil)}
	}
	before := c.rules.Load()
	for i := range config.Issuers {
		settings := &config.Issuers[i]
		k := newKeys(settings, c.options.Logger, func() { c.version.Add(1) })
		if before != nil && before.issuers[settings.URL] != nil {
			k.known.Store(before.issuers[settings.URL].keys.known.Load())
			k.endpoints.Store(before.issuers[settings.URL].keys.endpoints.Load())
		}
		next.issuers[settings.URL] = &issuer{settings, k, c.options.Now}
	}
	c.rules.Store(next)
	c.version.Add(1)
	for _, role := range config.roles() {
		if !c.options.Role(role) {
			c.options.Logger.Warn("a rule names a role that does not exist: it grants nothing until the role is made", "file", c.options.File, "role", role)
		}
	}
}

// Names says whether a rule in force names a role, or callers whom nothing names have it.
func (c *Callers) Names(role string) bool {
	now := c.rules.Load()
	for _, spec := range now.anonymous {
		if slices.Contains(spec.Roles, role) {
			return true
		}
	}
	return slices.Contains(now.config.roles(), role)
}

// roles are the names of all roles in the file.
func (c *Config) roles() (all []string) {
	if c.Anonymous != nil {
		all = append(all, c.Anonymous.Roles...)
	}
	for i := range c.Issuers {
		for j := range c.Issuers[i].Rules {
			all = append(all, c.Issuers[i].Rules[j].Roles...)
		}
	}
	for i := range c.Certificates {
		all = append(all, c.Certificates[i].Roles...)
	}
	return all
}

// lookEvery is how often the file is looked at for a change.
const lookEvery = time.Second

// Run fetches the issuers' keys, and reads the file again when it changes, until the context ends.
func (c *Callers) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var refused []byte // the newest content that cannot be used
	for ctx.Err() == nil {
		stop := c.fetchKeys(ctx)
		for changed := false; !changed && ctx.Err() == nil; {
			asked := false
			select {
			case <-ctx.Done():
			case <-ticker.C:
				changed = c.look(&refused, asked)
			case <-c.reload:
				asked = true
				changed = c.look(&refused, asked)
			}
		}
		stop()
	}
	return nil
}

// fetchKeys runs the fetches of the present issuers. stop ends them, and waits.
func (c *Callers) fetchKeys(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, i := range c.rules.Load().issuers {
		running.Go(func() { i.keys.run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// Reload makes Run read the file again, and say how that went.
func (c *Callers) Reload() {
	select {
	case c.reload <- struct{}{}:
	default: // it is about to
	}
}

// look reads the file, and puts it in force if it has changed. refused is the newest content that cannot be used, so that
// the log tells of it once; asked makes it tell again.
func (c *Callers) look(refused *[]byte, asked bool) (changed bool) {
	if c.options.File == "" {
		return false
	}
	content, err := durable.ReadAtMost(c.options.File, maxFile)
	if err == nil && !asked && (bytes.Equal(content, c.rules.Load().content) || *refused != nil && bytes.Equal(content, *refused)) {
		return false
	}
	var config *Config
	if err == nil {
		config, err = parse(c.options.File, content)
	}
	if err != nil {
		if asked || *refused == nil || !bytes.Equal(content, *refused) {
			c.options.Logger.Error("the changed access rules cannot be used; those that were read before stay in force", "cause", err)
		}
		*refused = append([]byte{}, content...)
		return false
	}
	*refused = nil
	c.use(content, config)
	c.options.Logger.Info("the access rules were read again", "file", c.options.File)
	return true
}

// Remembered implements web.Vouched.
func (c *Callers) Remembered(token []byte) *web.Caller {
	if len(token) > maxToken {
		return nil
	}
	return c.rules.Load().find(sha256.Sum256(token), c.options.Now())
}

func (r *rules) find(hash [sha256.Size]byte, now time.Time) *web.Caller {
	found, ok := r.remembered.Get(hash)
	if !ok {
		return nil
	}
	ended := !found.caller.Expires.IsZero() && !now.Before(found.caller.Expires)
	if ended || found.keys != nil && found.keys.withdrawn.Load() != found.withdrawn {
		r.remembered.Remove(hash)
		return nil
	}
	return found.caller
}

// Verify implements web.Vouched.
func (c *Callers) Verify(ctx context.Context, token []byte) *web.Caller {
	if len(token) > maxToken {
		return nil
	}
	r, hash := c.rules.Load(), sha256.Sum256(token)
	if caller := r.find(hash, c.options.Now()); caller != nil {
		return caller
	}
	url, ok := issuerOf(token)
	if !ok {
		return nil
	}
	i := r.issuers[url]
	if i == nil {
		return nil
	}
	withdrawn := i.keys.withdrawn.Load()
	caller, err := i.caller(ctx, string(token))
	if err != nil {
		c.options.Logger.Debug("an issuer's token is refused", "issuer", i.Name, "cause", err)
		return nil
	}
	r.remembered.Add(hash, remembered{caller, i.keys, withdrawn})
	return caller
}

// Workload implements web.Vouched.
func (c *Callers) Workload(certificate *x509.Certificate) *web.Caller {
	r, hash := c.rules.Load(), sha256.Sum256(certificate.Raw)
	if caller := r.find(hash, c.options.Now()); caller != nil {
		return caller
	}
	name := web.NameOf(certificate)
	if name == "" {
		return nil
	}
	caller := workload(name, certificate.NotAfter, r.config.Certificates)
	r.remembered.Add(hash, remembered{caller: caller})
	return caller
}

// Anonymous implements web.Vouched.
func (c *Callers) Anonymous() []domain.TokenSpec { return c.rules.Load().anonymous }

// Version implements web.Vouched.
func (c *Callers) Version() uint64 { return c.version.Load() }
