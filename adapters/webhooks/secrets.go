package webhooks

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Secrets seals signing secrets and the URLs of targets, so that both can stand in events that others may read.
type Secrets struct {
	aead cipher.AEAD
	key  []byte
}

const keyBytes = 32

// LoadSecrets reads the key in a file, and makes one where there is none. The error for a file that is not what was
// written is a durable.Damaged.
func LoadSecrets(path string) (*Secrets, error) {
	key, err := durable.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, keyBytes)
		if _, err = rand.Read(key); err == nil {
			err = durable.WriteFile(path, key, 0o600)
		}
	}
	switch {
	case err != nil:
	case len(key) != keyBytes:
		err = durable.Damaged{Path: path, Cause: fmt.Errorf("it has %d bytes, a key has %d", len(key), keyBytes)}
	case bytes.Count(key, []byte{0}) == keyBytes: // what a crash leaves of a file that was not synced
		err = durable.Damaged{Path: path, Cause: errors.New("it holds only zeros")}
	}
	if err != nil {
		return nil, fmt.Errorf("webhook key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &Secrets{aead, key}, err
}

// Derive gives 32 bytes that follow from a text and the key, and that nobody without the key can know.
func (s *Secrets) Derive(from string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.key, nil, "rollcall "+from, keyBytes)
}

const secretPrefix = "whsec_"

// New makes a signing secret in the notation of Standard Webhooks: a new one, or the one that follows from a text.
func (s *Secrets) New(from string) (string, error) {
	b := make([]byte, keyBytes)
	_, err := rand.Read(b)
	if from != "" {
		b, err = s.Derive("webhook " + from)
	}
	if err != nil {
		return "", err
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(b), nil
}

// Seal encrypts a secret, after a look at its form.
func (s *Secrets) Seal(secret string) ([]byte, error) {
	rest, ok := strings.CutPrefix(secret, secretPrefix)
	plain, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(plain) < 24 || len(plain) > 64 { // what Standard Webhooks ask for
		return nil, domain.InvalidField{Field: "secret", Rule: "must be whsec_ and 24-64 bytes in base64"}
	}
	return s.seal(secret, nil)
}

// Open decrypts what Seal made.
func (s *Secrets) Open(sealed []byte) (string, error) { return s.open(sealed, nil) }

// ofURL is authenticated with a sealed URL, so that no sealed secret can stand in its place.
var ofURL = []byte("url")

// SealURL encrypts the URL of a target.
func (s *Secrets) SealURL(url string) ([]byte, error) { return s.seal(url, ofURL) }

// Target is the whole URL of a webhook's target.
func (s *Secrets) Target(w domain.Webhook) (string, error) {
	if len(w.Target) == 0 {
		return w.Spec.URL, nil
	}
	return s.open(w.Target, ofURL)
}

func (s *Secrets) seal(plain string, kind []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, []byte(plain), kind), nil
}

func (s *Secrets) open(sealed, kind []byte) (string, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return "", errors.New("it is too short")
	}
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], kind)
	return string(plain), err
}
