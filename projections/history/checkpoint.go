package history

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Signer signs checkpoints with the registry's Ed25519 key.
type Signer struct {
	origin   string
	signer   note.Signer
	verifier string
}

// LoadSigner reads the key in a file, and makes one where there is none. The file is the registry's
// word: who has it can sign in its name. The error for a file whose private key is not what was written is a
// durable.Damaged. A public key that is missing or damaged is computed again.
func LoadSigner(path string, store uuid.UUID) (*Signer, error) {
	origin := Origin(store)
	b, err := durable.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b, err = makeKey(path, origin)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint key: %w", err)
	}
	secret, told := splitKey(b)
	signer, err := note.NewSigner(secret) // checks the key's checksum
	var public string
	if err == nil {
		public, err = publicKey(secret)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint key: %w", durable.Damaged{Path: path, Cause: err})
	}
	if told != public {
		if err := writeKey(path, secret, public); err != nil {
			return nil, fmt.Errorf("checkpoint key: %w", err)
		}
	}
	return &Signer{origin: origin, signer: signer, verifier: public}, nil
}

// KeyOwner is the store whose checkpoints are signed with the key in a file that LoadSigner made.
func KeyOwner(path string) (store uuid.UUID, err error) {
	b, err := durable.ReadFile(path)
	if err != nil {
		return store, err
	}
	secret, _ := splitKey(b)
	signer, err := note.NewSigner(secret)
	if err != nil {
		return store, durable.Damaged{Path: path, Cause: err}
	}
	return uuid.Parse(strings.TrimPrefix(signer.Name(), originPrefix))
}

const originPrefix = "rollcall/"

// Origin is the name in which a store's checkpoints are signed.
func Origin(store uuid.UUID) string { return originPrefix + store.String() }

// ReadVerifierKey reads the public key in a file that LoadSigner made.
func ReadVerifierKey(path string) (string, error) {
	b, err := durable.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("checkpoint key: %w", err)
	}
	secret, told := splitKey(b)
	if public, err := publicKey(secret); err == nil {
		return public, nil
	}
	if _, err := note.NewVerifier(told); err != nil {
		return "", fmt.Errorf("checkpoint key: %w", durable.Damaged{Path: path, Cause: err})
	}
	return told, nil
}

// splitKey gives a file's two lines: the private key and the public one.
func splitKey(b []byte) (secret, public string) {
	secret, public, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	return secret, public
}

// publicKey computes the public key that belongs to a private one, both in the notation of signed notes.
func publicKey(secret string) (string, error) {
	parts := strings.SplitN(secret, "+", 5) // PRIVATE, KEY, name, hash, key
	key, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(parts) != 5 || len(key) != 1+ed25519.SeedSize {
		return "", errors.New("it holds no private key")
	}
	public := ed25519.NewKeyFromSeed(key[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(parts[2], public)
}

func makeKey(path, origin string) ([]byte, error) {
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, err
	}
	// Checkpoints that were given to auditors are verified with this key for ever.
	return keyFile(secret, public), writeKey(path, secret, public)
}

func keyFile(secret, public string) []byte { return []byte(secret + "\n" + public + "\n") }

func writeKey(path, secret, public string) error {
	return durable.WriteFile(path, keyFile(secret, public), 0o600)
}

// VerifierKey is the public key in the notation of signed notes.
func (s *Signer) VerifierKey() string { return s.verifier }

// timelineLine begins the line of a checkpoint that names its timeline. A store's first timeline has no such line.
const timelineLine = "timeline "

// Sign makes a checkpoint of all events in the history. timeline is the store's.
func (s *Signer) Sign(h *History, timeline string) ([]byte, error) {
	size := h.Leaves()
	root, err := h.Root(size)
	if err != nil {
		return nil, err
	}
	text := s.origin + "\n" + strconv.FormatInt(size, 10) + "\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
	if timeline != "" {
		text += timelineLine + timeline + "\n"
	}
	return note.Sign(&note.Note{Text: text}, s.signer)
}

// Checkpoint is the content of a signed note.
type Checkpoint struct {
	Origin   string
	Size     int64
	Root     tlog.Hash
	Timeline string // on which it was made; "": the store's first
}

// OpenCheckpoint reads a checkpoint that is signed with the key.
func OpenCheckpoint(signed []byte, verifierKey string) (c Checkpoint, err error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		return c, errors.New("checkpoint key: it is no key that checkpoints are verified with, and no file with one")
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	switch {
	case errors.As(err, new(*note.UnverifiedNoteError)):
		return c, errors.New("checkpoint: it is not signed with the key " + verifier.Name())
	case errors.As(err, new(*note.InvalidSignatureError)):
		return c, errors.New("checkpoint: its signature is wrong: it is not what was signed")
	case err != nil:
		return c, errors.New("checkpoint: the file is no signed checkpoint")
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 {
		return c, errors.New("checkpoint: it has too few lines")
	}
	c.Origin = lines[0]
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 {
		return c, errors.New("checkpoint: its second line is not a number of events")
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return c, errors.New("checkpoint: its third line is no root of a tree")
	}
	if timeline, ok := strings.CutPrefix(lines[3], timelineLine); ok {
		c.Timeline = timeline
	}
	return c, nil
}
