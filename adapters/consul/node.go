package consul

import (
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// node is a machine, as Consul's clients see one: the caller of an agent's route is the machine whose agent it talks to.
type node struct {
	name    string
	address string
}

// nodeOf is the node of the request's caller.
func nodeOf(q *request) node { return nodeAt(web.SourceOf(q.Request().RemoteAddr)) }

// nodeAt is the node at an address: ip-10-0-0-5 at 10.0.0.5.
func nodeAt(address string) node {
	name, usual := wire.NodeAt(address)
	return node{name, usual}
}

// Instance ids and ids of checks take printable ASCII but for some characters, and Consul's take any text. A byte that does
// not fit is written as ~ and two digits, and so is ~ itself. No two ids become the same.

const hex = "0123456789abcdef"

func escape(id string) string {
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/\?#%"~`, c) >= 0 {
			b.WriteByte('~')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	if escaped := b.String(); escaped != "." && escaped != ".." {
		return escaped
	}
	return strings.ReplaceAll(id, ".", "~2e")
}

// unescape is the id that became the given one. An id of a native client stays as it is.
func unescape(id string) string {
	if !strings.Contains(id, "~") {
		return id
	}
	b := make([]byte, 0, len(id))
	for i := 0; i < len(id); i++ {
		if id[i] == '~' && i+2 < len(id) {
			high, low := strings.IndexByte(hex, id[i+1]), strings.IndexByte(hex, id[i+2])
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, id[i])
	}
	return string(b)
}

// agentID is the id of a service or check at a node.
type agentID struct {
	namespace, node, id string
	check               bool
}

// target is an instance, and a check of it.
type target struct {
	key   domain.Key
	check string // "": the instance
}
