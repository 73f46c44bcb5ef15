package history

import (
	"encoding/binary"
	"os"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The key ranges.
//
//	g<position>                     a block of entries, of which the last has the position: blocks.go
//	i<instance>00<position>         and s<service> n<namespace> a<actor> y<type>: postings.go
//	t<time>                         the position of an event recorded at that time; at most one key a second
//	h<instance>00<hour>             a summary of heartbeats: summaries.go
//	l<number>                       256 leaves of the tree
//	m<index>                        a hash above them (golang.org/x/mod/sumdb/tlog's storage order)
//	e<segment>                      the last position of a segment of the entries: segments.go
//	r<segment><instance>            the steps of the segment's instances up to that one: seal.go
//	c<segment><scope>               the numbers of the segment's events by type, of the scopes up to that one
//	d<segment><scope>               the places of these events, where they are many
//	k…                              identity and state
const (
	rangeEntry     = 'g'
	rangeInstance  = 'i'
	rangeService   = 's'
	rangeNamespace = 'n'
	rangeActor     = 'a'
	rangeType      = 'y'
	rangeTime      = 't'
	rangeSummary   = 'h'
	rangeBlock     = 'l'
	rangeHash      = 'm'
	rangeSegment   = 'e'
	rangeSteps     = 'r'
	rangeCounts    = 'c'
	rangePlaces    = 'd'
	rangeState     = 'k'
)

var (
	keyIdentity = []byte("k/identity")
	keyState    = []byte("k/state")
)

func key64(prefix byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{prefix}, n) }

func entryKey(p eventstore.Position) []byte { return key64(rangeEntry, uint64(p)) }
func timeKey(t time.Time) []byte            { return key64(rangeTime, uint64(max(t.UnixNano(), 0))) }

// indexKey is the key of a name's postings, or summary, with a number.
func indexKey(prefix byte, name string, n uint64) []byte {
	return appendIndexKey(make([]byte, 0, len(name)+10), prefix, name, n)
}

func appendIndexKey(b []byte, prefix byte, name string, n uint64) []byte {
	b = append(append(append(b, prefix), name...), 0)
	return binary.BigEndian.AppendUint64(b, n)
}

func tail(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// cleaned stands for a byte that separates the parts of a key.
const cleaned = "\uFFFD"

// indexName replaces the byte that separates the parts of a key.
func indexName(s string) string { return strings.ReplaceAll(s, "\x00", cleaned) }

// Remove deletes the folder.
func Remove(dir string) error { return os.RemoveAll(dir) }
