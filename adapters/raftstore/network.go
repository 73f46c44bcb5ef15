package raftstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"
)

// Network opens connections between nodes. Tests have one in memory, with faults.
type Network interface {
	Listen(address string) (net.Listener, error)
	// Dial opens a connection to the node with a name at an address.
	Dial(ctx context.Context, name, address string) (net.Conn, error)
	// Authentic gives an error if the node at the other end of a connection is not the one with the name.
	Authentic(c net.Conn, name string) error
}

// tcp is the network of production: mutual TLS over TCP.
type tcp struct{ config func() *tls.Config }

// Listen implements Network.
func (t tcp) Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil || t.config == nil {
		return l, err
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		config := t.config().Clone()
		config.ClientAuth, config.MinVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS13
		if config.ClientCAs == nil {
			config.ClientCAs = config.RootCAs
		}
		return config, nil
	}}), nil
}

// Dial implements Network.
func (t tcp) Dial(ctx context.Context, name, address string) (net.Conn, error) {
	if t.config == nil {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	config := t.config().Clone()
	config.ServerName, config.MinVersion = name, tls.VersionTLS13 // the certificate names the node, not its host
	d := tls.Dialer{Config: config}
	return d.DialContext(ctx, "tcp", address)
}

// Authentic implements Network.
func (t tcp) Authentic(c net.Conn, name string) error {
	secure, ok := c.(*tls.Conn)
	if !ok || t.config == nil {
		return nil
	}
	certificates := secure.ConnectionState().PeerCertificates
	if len(certificates) == 0 {
		return errors.New("the node shows no certificate")
	}
	if err := certificates[0].VerifyHostname(name); err != nil {
		return fmt.Errorf("the certificate is not that of node %s: %w", name, err)
	}
	return nil
}

// The kinds of frames on a connection. A frame is its length (4 bytes, of what follows), its kind (1 byte) and its content.
const (
	frameHello   = 'h' // JSON of hello, the first frame from the node that dials
	frameAnswer  = 'a' // JSON of answer
	frameRaft    = 'r' // a raftpb.Message
	frameForward = 'f' // a body for the leader to propose
	frameFile    = 'n' // the name of a checkpoint's file, whose content follows
	frameContent = 'c' // a part of the file
	frameEnd     = 'e' // the end of the checkpoint: its checksum
)

const (
	// maxFrame is the largest frame that a node reads. An append of one call may be as large as a commit of the embedded store.
	maxFrame = 80 << 20
	// maxJSON is the largest hello or answer. A node reads a hello before it knows who is at the other end.
	maxJSON = 1 << 20
)

// The purposes of a connection.
const (
	forMessages   = "messages"   // messages of raft and forwarded bodies, from the node that dials, until the connection ends
	forSnapshot   = "snapshot"   // a checkpoint for the node that is dialled
	forCheckpoint = "checkpoint" // a checkpoint for the node that dials, whose store is lost
	forIdentity   = "identity"   // only the answer
	forChange     = "change"     // a change of the members, which the leader carries out
)

// hello is how the node that dials begins.
type hello struct {
	Purpose string    `json:"purpose"`
	Cluster uuid.UUID `json:"cluster"` // zero: the node belongs to none yet
	From    uint64    `json:"from"`
	Name    string    `json:"name"`    // of the node that dials
	Address string    `json:"address"` // where the node that dials is reached
	To      uint64    `json:"to"`      // the id that the node at the other end must have; 0: any
	Change  *change   `json:"change,omitempty"`
	Rules   uint64    `json:"rules"` // the newest version of the rules that the node knows
}

// answer is what the other end says to a hello.
type answer struct {
	Refused string            `json:"refused,omitempty"` // why the hello is refused
	Removed bool              `json:"removed,omitempty"` // the node that dials is no member any more
	ID      uint64            `json:"id"`
	Name    string            `json:"name"`
	Cluster uuid.UUID         `json:"cluster"`
	Events  bool              `json:"events"` // the node has events from before the cluster
	Members map[string]uint64 `json:"members,omitempty"`
	Leader  uint64            `json:"leader,omitempty"`
	Again   bool              `json:"again,omitempty"` // the change may be asked for again
	Rules   uint64            `json:"rules"`           // the newest version of the rules that the node knows
	TooOld  bool              `json:"too_old,omitempty"`
}

// refusedError is what a node said that refuses another one.
type refusedError struct {
	name   string
	answer answer
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("node %s refuses: %s", e.name, e.answer.Refused)
}

// beginFrame begins a frame, whose content the caller appends. endFrame ends the frame that begins at a place.
func beginFrame(b []byte, kind byte) []byte { return append(b, 0, 0, 0, 0, kind) }

func endFrame(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func appendFrame(b []byte, kind byte, content []byte) []byte {
	return endFrame(append(beginFrame(b, kind), content...), len(b))
}

func writeFrame(w io.Writer, kind byte, content []byte) error {
	_, err := w.Write(appendFrame(make([]byte, 0, 5+len(content)), kind, content))
	return err
}

// readFrame reads a frame into memory of its own.
func readFrame(r io.Reader) (kind byte, content []byte, err error) {
	kind, size, err := readHead(r)
	if err != nil {
		return 0, nil, err
	}
	content = make([]byte, size)
	_, err = io.ReadFull(r, content)
	return kind, content, err
}

// readHead reads the kind of a frame and the size of its content.
func readHead(r io.Reader) (kind byte, size int, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxFrame {
		return 0, 0, fmt.Errorf("a frame of %d bytes", n)
	}
	return head[4], int(n - 1), nil
}

// whole says whether the next frame has come as a whole. It waits for nothing.
func whole(r *bufio.Reader) bool {
	if r.Buffered() < 5 {
		return false
	}
	head, _ := r.Peek(4) // they are in the buffer
	return r.Buffered() >= 4+int(binary.BigEndian.Uint32(head))
}

func writeJSON(w io.Writer, kind byte, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeFrame(w, kind, b)
}

func readJSON(r io.Reader, want byte, into any) error {
	kind, size, err := readHead(r)
	if err != nil {
		return err
	}
	if kind != want || size > maxJSON {
		return fmt.Errorf("frame %q of %d bytes came where %q was expected", kind, size, want)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// Time limits of connections.
const (
	dialTimeout  = 2 * time.Second
	helloTimeout = 5 * time.Second
	writeTimeout = 5 * time.Second // a node that takes nothing for this long counts as unreachable
	fileTimeout  = 30 * time.Second
)

// call dials a node, says hello and reads the answer. REQUIRES: the caller closes the connection.
func (s *Store) call(ctx context.Context, name, address string, h hello) (net.Conn, answer, error) {
	var a answer
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := s.network.Dial(dial, name, address)
	if err != nil {
		return nil, a, err
	}
	who := s.log.who()
	h.From, h.Name, h.Cluster, h.Address = who.ID, who.Name, who.Cluster, s.config.Address
	h.Rules = s.newest()
	_ = c.SetDeadline(time.Now().Add(helloTimeout))
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	err = writeJSON(c, frameHello, h)
	if err == nil {
		err = readJSON(c, frameAnswer, &a)
	}
	if err == nil {
		err = s.network.Authentic(c, name)
	}
	if err == nil && a.Refused != "" {
		err = &refusedError{name, a}
	}
	if err == nil && a.Name != name {
		err = fmt.Errorf("node %s answers at %s, where node %s was expected", a.Name, address, name)
	}
	if err != nil {
		return nil, a, errors.Join(err, c.Close())
	}
	_ = c.SetDeadline(time.Time{}) // the next read says so if the other end is gone
	return c, a, nil
}
