// Package access is the projection of tokens and roles: who a secret names, and what its bearer may do.
//
// A secret is looked up by its hash. When a token is used last is kept to the minute, in memory only.
package access

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// Table holds tokens and roles. One goroutine applies events; anyone may read.
type Table struct {
	projections.Progress

	logger  *slog.Logger
	version atomic.Uint64 // changes with each event

	mu       sync.RWMutex
	state    domain.Access
	byHash   map[domain.SecretHash]*Bearer
	lastUsed map[string]*atomic.Int64 // by token; Unix minutes, 0: never since the start
}

// Bearer is who presents a token's secret. It does not change; a change of the token or its roles makes a new one.
type Bearer struct {
	Name    string
	Grants  []domain.Grant
	Expires time.Time // of the secret; zero: never

	networks []netip.Prefix // none: any
	lastUsed *atomic.Int64
}

// Admits says whether the secret may be used at a time from an address.
func (b *Bearer) Admits(now time.Time, from netip.Addr) bool {
	if !b.Expires.IsZero() && !now.Before(b.Expires) {
		return false
	}
	if len(b.networks) == 0 {
		return true
	}
	from = from.Unmap()
	for _, n := range b.networks {
		if n.Contains(from) {
			return true
		}
	}
	return false
}

// Used notes that the token was used.
func (b *Bearer) Used(now time.Time) {
	if minute := now.Unix() / 60; b.lastUsed.Load() != minute {
		b.lastUsed.Store(minute)
	}
}

// Open folds the access stream as it stands. When the store cannot be reached, Run does.
func Open(ctx context.Context, store eventstore.Store, logger *slog.Logger) (*Table, error) {
	t := &Table{logger: logger, byHash: map[domain.SecretHash]*Bearer{}, lastUsed: map[string]*atomic.Int64{}}
	if err := t.stream(store).Fold(ctx, &t.Progress); err != nil {
		return nil, fmt.Errorf("read tokens and roles: %w", err)
	}
	return t, nil
}

// Run applies events as they come until the context ends.
func (t *Table) Run(ctx context.Context, store eventstore.Store) error {
	if err := t.stream(store).Follow(ctx, &t.Progress); err != nil {
		return fmt.Errorf("access: %w", err)
	}
	return nil
}

func (t *Table) stream(store eventstore.Store) projections.OneStream {
	return projections.OneStream{Store: store, Stream: eventstore.AccessStream, Apply: t.take}
}

// take applies an event. One that cannot be applied grants nothing.
func (t *Table) take(e *eventstore.RecordedEvent) {
	if err := t.apply(e); err != nil {
		t.logger.Error("event is kept but cannot be applied", "position", e.Position, "stream", e.Stream, "cause", err)
	}
}

// apply is idempotent: Open may have read events behind the head that it asked for.
func (t *Table) apply(e *eventstore.RecordedEvent) error {
	event, err := eventstore.Decode(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	if uint64(e.Revision) < t.state.Events {
		return nil
	}
	if err != nil {
		t.state.Events = uint64(e.Revision) + 1
		return err
	}
	switch e := event.(type) { // the secrets before are good no longer, unless compile says so
	case domain.TokenRotated:
		t.forget(e.Name)
	case domain.TokenRevoked:
		t.forget(e.Name)
	}
	t.state.Apply(event)
	t.state.Events = uint64(e.Revision) + 1
	switch e := event.(type) {
	case domain.TokenCreated:
		t.compile(e.Name)
	case domain.TokenRotated:
		t.compile(e.Name)
	case domain.RoleSet:
		t.compileRole(e.Name)
	case domain.RoleRemoved:
		t.compileRole(e.Name)
	}
	t.version.Add(1)
	return nil
}

// compileRole makes the bearers of all tokens with a role anew.
func (t *Table) compileRole(role string) {
	for name, token := range t.state.Tokens {
		if slices.Contains(token.Spec.Roles, role) {
			t.compile(name)
		}
	}
}

// forget takes a token's secrets out. REQUIRES: mu is locked.
func (t *Table) forget(name string) {
	token := t.state.Tokens[name]
	delete(t.byHash, token.Secret)
	delete(t.byHash, token.Old)
}

// compile makes a token's bearers anew. REQUIRES: mu is locked.
func (t *Table) compile(name string) {
	token, ok := t.state.Tokens[name]
	if !ok || token.Revoked {
		return
	}
	used := t.lastUsed[name]
	if used == nil {
		used = new(atomic.Int64)
		t.lastUsed[name] = used
	}
	b := &Bearer{Name: name, Grants: t.state.Grants(token.Spec), Expires: token.Spec.Expires, lastUsed: used}
	for _, n := range token.Spec.Networks {
		if p, err := netip.ParsePrefix(n); err == nil {
			b.networks = append(b.networks, p)
		}
	}
	t.byHash[token.Secret] = b
	if token.OldUntil.IsZero() { // there is no old one, or it ended at once
		return
	}
	old := *b
	if old.Expires.IsZero() || token.OldUntil.Before(old.Expires) {
		old.Expires = token.OldUntil
	}
	t.byHash[token.Old] = &old
}

// Find is the bearer of the secret with a hash; nil: there is none. Whether the bearer is admitted is another question.
func (t *Table) Find(hash domain.SecretHash) *Bearer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byHash[hash]
}

// Grants are what each of the specs grants by the present roles.
func (t *Table) Grants(specs []domain.TokenSpec) (grants []domain.Grant) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, spec := range specs {
		grants = append(grants, t.state.Grants(spec)...)
	}
	return slices.Clip(grants)
}

// Version changes when any token or role has changed: what was found before may then be different.
func (t *Table) Version() uint64 { return t.version.Load() }

// Decide decides a command on the present state, and says how many events the state has.
func (t *Table) Decide(command domain.AccessCommand) (event domain.Event, events uint64, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	event, err = t.state.Decide(command)
	return event, t.state.Events, err
}

// Listed is a token and when it was used last.
type Listed struct {
	domain.Token
	LastUsed time.Time // to the minute; zero: not since this node's start
}

func (t *Table) listed(token domain.Token) Listed {
	l := Listed{Token: token}
	if used := t.lastUsed[token.Name]; used != nil && used.Load() > 0 {
		l.LastUsed = time.Unix(used.Load()*60, 0).UTC()
	}
	return l
}

// Tokens are the tokens that were not revoked, in the order of their names.
func (t *Table) Tokens() (all []Listed) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(t.state.Tokens)) {
		if token := t.state.Tokens[name]; !token.Revoked {
			all = append(all, t.listed(token))
		}
	}
	return all
}

// Token is a token, revoked or not; ok is false when there never was one.
func (t *Table) Token(name string) (l Listed, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	token, ok := t.state.Tokens[name]
	return t.listed(token), ok
}

// Roles are the built-in roles, then the others in the order of their names.
func (t *Table) Roles() []domain.Role {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := domain.BuiltInRoles()
	for _, name := range slices.Sorted(maps.Keys(t.state.Own)) {
		all = append(all, t.state.Own[name])
	}
	return all
}

// Role finds a role by its name.
func (t *Table) Role(name string) (domain.Role, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state.Role(name)
}
