package commands

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// SecretPrefix begins every secret, so that scanners for leaked secrets find it: rollcall_ and 64 hexadecimal digits.
const SecretPrefix = "rollcall_"

const secretLength = len(SecretPrefix) + 64

// NewSecret draws a secret of 256 random bits.
func NewSecret() (secret string, hash domain.SecretHash) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	secret = SecretPrefix + hex.EncodeToString(b[:])
	return secret, sha256.Sum256([]byte(secret))
}

// HashSecret is the hash of a secret that a caller presents; ok is false where it cannot be one. It allocates nothing.
func HashSecret[S string | []byte](secret S) (hash domain.SecretHash, ok bool) {
	if len(secret) != secretLength || !strings.HasPrefix(string(secret), SecretPrefix) {
		return hash, false
	}
	var b [secretLength]byte
	copy(b[:], secret)
	return sha256.Sum256(b[:]), true
}

// AccessState is the present state of tokens and roles.
type AccessState interface {
	// Decide decides a command, and says how many events the state has.
	Decide(command domain.AccessCommand) (event domain.Event, events uint64, err error)
	WaitFor(ctx context.Context, position eventstore.Position) error
}

// Access carries out commands to tokens and roles.
type Access struct {
	Store eventstore.Store
	State AccessState
	Now   func() time.Time
	// Ruled says whether a rule gives a role to callers without a token; nil: there are no rules. A node knows its own.
	Ruled func(role string) bool
	// Derive gives 32 bytes that follow from a text and from a key that the nodes share and that nobody else knows; nil: there is
	// none, and a secret cannot be told again.
	Derive func(from string) ([]byte, error)

	turn turn // of commands, see decideOn
}

// Create makes a token and gives its secret, which is kept nowhere.
func (a *Access) Create(ctx context.Context, caller Caller, name string, spec domain.TokenSpec) (secret string, err error) {
	if err := a.future("expires", spec.Expires); err != nil {
		return "", err
	}
	secret, hash, err := a.secret(caller, name)
	if err != nil {
		return "", err
	}
	if err := a.Do(ctx, caller, domain.CreateToken{Name: name, Spec: spec, Secret: hash}); err != nil {
		return "", err
	}
	return secret, a.holds(ctx, caller, hash)
}

// secret draws a secret for a token, or derives it from the key of the request, so that it can be told again.
func (a *Access) secret(caller Caller, name string) (secret string, hash domain.SecretHash, err error) {
	if caller.Keyed == nil || a.Derive == nil {
		secret, hash = NewSecret()
		return secret, hash, nil
	}
	b, err := a.Derive(fmt.Sprintf("token %q %s", name, caller.KeyText()))
	if err != nil {
		return "", hash, err
	}
	secret = SecretPrefix + hex.EncodeToString(b)
	return secret, sha256.Sum256([]byte(secret)), nil
}

// holds refuses a request that was sent before and made another secret: with another key of the nodes, or none.
func (a *Access) holds(ctx context.Context, caller Caller, hash domain.SecretHash) error {
	made, err := caller.sentBefore(ctx, a.Store, eventstore.AccessStream)
	if err != nil || made.Position == 0 {
		return err
	}
	event, err := eventstore.Decode(&made)
	if err != nil {
		return err
	}
	var was domain.SecretHash
	switch e := event.(type) {
	case domain.TokenCreated:
		was = e.SHA256
	case domain.TokenRotated:
		was = e.SHA256
	}
	if was != hash {
		return domain.InvalidField{Field: "Idempotency-Key", Rule: "must be another one: what came with it was done, and its secret cannot be told again"}
	}
	return nil
}

// Rotate gives a token another secret. The one before stays good for a time (0: not at all). expires is the token's end
// from now on; nil: the expiry stays.
func (a *Access) Rotate(ctx context.Context, caller Caller, name string, keepOld time.Duration, expires *time.Time) (secret string, err error) {
	if expires != nil {
		if err := a.future("expires", *expires); err != nil {
			return "", err
		}
	}
	secret, hash, err := a.secret(caller, name)
	if err != nil {
		return "", err
	}
	command := domain.RotateToken{Name: name, Secret: hash, Expires: expires}
	if keepOld > 0 {
		command.OldUntil = a.Now().Add(keepOld).UTC()
	}
	if err := a.Do(ctx, caller, command); err != nil {
		return "", err
	}
	return secret, a.holds(ctx, caller, hash)
}

func (a *Access) future(field string, at time.Time) error {
	if !at.IsZero() && !at.After(a.Now()) {
		return domain.InvalidField{Field: field, Rule: "must be in the future"}
	}
	return nil
}

// Do carries out one command. It is answered when this node applies it.
func (a *Access) Do(ctx context.Context, caller Caller, command domain.AccessCommand) error {
	release, err := a.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	_, err = decideOn(ctx, a.Store, eventstore.AccessStream, a.State, caller, func() (domain.Event, uint64, error) {
		event, events, err := a.State.Decide(command)
		if remove, ok := command.(domain.RemoveRole); ok && err == nil && event != nil && a.Ruled != nil && a.Ruled(remove.Name) {
			return nil, 0, domain.RoleInUse{Role: remove.Name}
		}
		return event, events, err
	})
	return err
}
