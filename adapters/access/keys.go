package access

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

// When an issuer's keys are fetched.
const (
	fetchEvery   = 5 * time.Minute
	retryFirst   = time.Second // after a failure; each further pause is twice as long
	retryMost    = time.Minute
	fetchTimeout = 10 * time.Second
	// A token whose key is not known makes the keys be fetched. Nobody can make the registry ask more often than this.
	askEvery = 10 * time.Second
	askBurst = 3
	// askTimeout is how long the bearer of such a token waits.
	askTimeout = 3 * time.Second
)

// keys are the keys of an issuer. They stay in force while the issuer cannot be reached.
type keys struct {
	issuer *Issuer
	logger *slog.Logger
	ask    *rate.Limiter

	turn      chan struct{} // holds a value during a fetch
	known     atomic.Pointer[jose.JSONWebKeySet]
	endpoints atomic.Pointer[endpoints]
	fetches   atomic.Uint64 // that succeeded
	lost      bool          // the last fetch failed; whoever fetches may use it
	left      int           // how many keys the last fetch that succeeded left out; whoever fetches may use it

	withdrawn atomic.Uint64 // how often a key was gone
	onLoss    func()        // called when a key is gone
}

func newKeys(issuer *Issuer, logger *slog.Logger, onLoss func()) *keys {
	return &keys{issuer: issuer, logger: logger, ask: rate.NewLimiter(rate.Every(askEvery), askBurst), turn: make(chan struct{}, 1), onLoss: onLoss}
}

var errUnknownKey = errors.New("the issuer has no such key")

// verifySignature gives the payload of a token that one of the keys signed. It fetches the keys when they do not have the
// token's key.
func (k *keys) verifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, signatures(k.issuer.Algorithms))
	if err != nil {
		return nil, err
	}
	fetches := k.fetches.Load()
	payload, err := k.verify(signed)
	if !errors.Is(err, errUnknownKey) || !k.ask.Allow() {
		return payload, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout) // others wait for the keys, too
	defer cancel()
	if err := k.fetch(ctx, fetches); err != nil {
		return nil, err
	}
	return k.verify(signed)
}

func (k *keys) verify(signed *jose.JSONWebSignature) ([]byte, error) {
	known, header := k.known.Load(), signed.Signatures[0].Header
	if known == nil {
		return nil, errUnknownKey
	}
	err := errUnknownKey
	for i := range known.Keys {
		key := &known.Keys[i]
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		payload, wrong := signed.Verify(key.Key)
		if wrong == nil {
			return payload, nil
		}
		if header.KeyID != "" { // a token that names no key may be signed with one that is not known yet
			err = wrong
		}
	}
	return nil, err
}

func signatures(names []string) (all []jose.SignatureAlgorithm) {
	for _, name := range names {
		all = append(all, jose.SignatureAlgorithm(name))
	}
	return all
}

// run fetches the keys now and then until the context ends.
func (k *keys) run(ctx context.Context) {
	retry := retryFirst
	for {
		pause := fetchEvery
		if err := k.fetch(ctx, k.fetches.Load()); err != nil {
			pause, retry = retry, min(2*retry, retryMost)
		} else {
			retry = retryFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// fetch fetches the keys, unless others did since the number of fetches was seen.
func (k *keys) fetch(ctx context.Context, seen uint64) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if k.fetches.Load() != seen {
		return nil
	}
	fresh, places, err := k.get(ctx)
	if err != nil {
		if !k.lost && ctx.Err() != context.Canceled {
			k.lost = true
			k.logger.Error("an issuer's keys cannot be fetched: the keys that are known stay in force, and it is tried again", "issuer", k.issuer.Name, "url", k.issuer.URL, "keys", k.len(), "cause", err)
		}
		return err
	}
	k.endpoints.Store(places)
	left := max(0, len(fresh.Keys)-maxKeys)
	if fresh.Keys = fresh.Keys[:len(fresh.Keys)-left]; left > 0 && k.left == 0 {
		k.logger.Error("an issuer has more keys than are taken: tokens signed with the last keys of its list are refused",
			"issuer", k.issuer.Name, "url", k.issuer.URL, "taken", maxKeys, "left_out", left)
	}
	k.left = left
	before := k.known.Swap(fresh)
	k.fetches.Add(1)
	switch {
	case len(fresh.Keys) == 0 && (before == nil || len(before.Keys) > 0):
		k.logger.Error("an issuer has no key that tokens could be signed with: none of its tokens is good", "issuer", k.issuer.Name, "url", k.issuer.URL)
	case k.lost || before == nil || len(before.Keys) == 0 && len(fresh.Keys) > 0:
		k.logger.Info("an issuer's keys were fetched", "issuer", k.issuer.Name, "url", k.issuer.URL, "keys", len(fresh.Keys))
	}
	k.lost = false
	if before != nil && gone(before, fresh) {
		k.logger.Info("an issuer has withdrawn a key: its tokens are verified anew", "issuer", k.issuer.Name)
		k.withdrawn.Add(1)
		k.onLoss()
	}
	return nil
}

func (k *keys) len() int {
	if known := k.known.Load(); known != nil {
		return len(known.Keys)
	}
	return 0
}

// gone says whether a key of before is none of after.
func gone(before, after *jose.JSONWebKeySet) bool {
	prints := map[string]bool{}
	for i := range after.Keys {
		prints[thumbprint(&after.Keys[i])] = true
	}
	for i := range before.Keys {
		if !prints[thumbprint(&before.Keys[i])] {
			return true
		}
	}
	return false
}

// thumbprint tells two keys apart (RFC 7638).
func thumbprint(key *jose.JSONWebKey) string {
	b, err := key.Thumbprint(crypto.SHA256)
	if err != nil { // a key that is valid has one
		return err.Error()
	}
	return string(b)
}
