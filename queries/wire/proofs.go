package wire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
)

// Hash is a hash of the tamper-evident log (SHA-256, RFC 6962); its text is base64.
type Hash [32]byte

// String is the hash's text.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText is the hash's text.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err == nil && len(b) != len(h) {
		err = errors.New("a hash has 32 bytes")
	}
	copy(h[:], b)
	return err
}

// Leaves are some of the log's leaves: with all of them, and a checkpoint that they add up to, an auditor
// can tell which event is not what it was.
type Leaves struct {
	From   int64  `json:"from"`
	Size   int64  `json:"size"` // how many there are
	Hashes []Hash `json:"hashes"`
}

// InclusionProof proves that an event is in the log of Size events.
type InclusionProof struct {
	Size  int64           `json:"size"`
	Leaf  int64           `json:"leaf"`
	Hash  Hash            `json:"hash"`
	Root  Hash            `json:"root"`
	Proof []Hash          `json:"proof"`
	Event json.RawMessage `json:"event"` // in canonical form: Hash is RFC 6962's leaf hash of these bytes
}

// ConsistencyProof proves that the log of the first From events is the beginning of the log of the first To events.
type ConsistencyProof struct {
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	FromRoot Hash   `json:"from_root"`
	ToRoot   Hash   `json:"to_root"`
	Proof    []Hash `json:"proof"`
}
