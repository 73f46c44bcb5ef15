package domain

import (
	"fmt"
	"strings"
)

// Verb is what a caller may do. Verbs are bits, so that a grant tests one in a single operation.
type Verb uint16

// The verbs.
const (
	ReadCatalog    Verb = 1 << iota // look up services and instances, and follow them
	WriteInstances                  // register, renew, report health and deregister any instance
	WriteOwn                        // the same, and draining, but only for instances that the caller registered
	ChangeInstanceTraffic
	ReadHistory
	ReadEvents
	ManageWebhooks
	ManageAccess
	Operate
	verbsEnd
)

var verbNames = [...]string{"read-catalog", "write", "write-own", "traffic", "read-history", "read-events", "webhooks", "access", "operate"}

// AllVerbs are all of them, in one.
const AllVerbs = verbsEnd - 1

// Verbs lists every verb in the order of its bit.
func Verbs() (all []Verb) {
	for v := ReadCatalog; v < verbsEnd; v <<= 1 {
		all = append(all, v)
	}
	return all
}

// Names are the names of the verbs that v holds.
func (v Verb) Names() (names []string) {
	for i, name := range verbNames {
		if v&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (v Verb) String() string { return strings.Join(v.Names(), " or ") }

// ParseVerbs makes one value of the verbs' names.
func ParseVerbs(field string, names []string) (v Verb, err error) {
names:
	for at, name := range names {
		for i, known := range verbNames {
			if name == known {
				v |= 1 << i
				continue names
			}
		}
		return 0, InvalidField{Field: element(field, at), Rule: "must be of " + strings.Join(verbNames[:], ", ")}
	}
	return v, nil
}

// Pattern picks names: "*" picks every name, "pay*" every name that begins with pay, any other pattern one name.
// Two patterns have one pattern, or none, that picks what both pick.
type Pattern string

// Match says whether the pattern picks the name. The name "" stands for all names: only "*" picks it.
func (p Pattern) Match(name string) bool {
	if n := len(p) - 1; n >= 0 && p[n] == '*' {
		return len(name) >= n && name[:n] == string(p[:n])
	}
	return string(p) == name && name != ""
}

// One says whether the pattern picks one name only.
func (p Pattern) One() bool { return !strings.HasSuffix(string(p), "*") }

// And is the pattern that picks what both p and q pick; ok is false where they pick nothing together.
func (p Pattern) And(q Pattern) (both Pattern, ok bool) {
	pStart, pMany := strings.CutSuffix(string(p), "*")
	qStart, qMany := strings.CutSuffix(string(q), "*")
	switch {
	case qMany && strings.HasPrefix(pStart, qStart):
		return p, true
	case pMany && strings.HasPrefix(qStart, pStart):
		return q, true
	case !pMany && !qMany && p == q:
		return p, true
	}
	return "", false
}

// maxPattern is the longest pattern, in bytes.
const maxPattern = MaxInstanceID + 1

// validate checks that a name can match the pattern. legal checks a name.
func (p Pattern) validate(field string, legal func(field, name string) error) error {
	if p == "*" {
		return nil
	}
	name, all := strings.CutSuffix(string(p), "*")
	if all {
		name += "a" // names that begin in this way may go on with a letter
	}
	if len(p) > maxPattern || strings.Contains(name, "*") || legal(field, name) != nil {
		return InvalidField{Field: field, Rule: `must be a legal name, the beginning of legal names and a "*" ("pay*"), or "*"`}
	}
	return nil
}

// Grant lets its holder do what the verbs say, within a pattern of namespaces and a pattern of services. Instance
// limits the verbs that change an instance; it says nothing about verbs that read.
type Grant struct {
	Verbs     Verb
	Namespace Pattern
	Service   Pattern
	Instance  Pattern
}

// changing are the verbs that Grant.Instance limits.
const changing = WriteInstances | WriteOwn | ChangeInstanceTraffic

// Allow decides whether grants let their holder do what a verb says to what a key names. An empty part of the key
// stands for all: Key{Namespace: "shop"} is the whole namespace, and the zero key the whole registry. Each question
// is answered by one grant alone; so another grant never takes a right away.
func Allow(grants []Grant, verb Verb, key Key) bool {
	for i := range grants {
		g := &grants[i]
		if g.Verbs&verb != 0 && g.Namespace.Match(key.Namespace) && g.Service.Match(key.Service) &&
			(verb&changing == 0 || g.Instance.Match(key.ID)) {
			return true
		}
	}
	return false
}

// AllowWithin decides whether grants have a verb for anything within a namespace; "": within any.
func AllowWithin(grants []Grant, verb Verb, namespace string) bool {
	for i := range grants {
		if g := &grants[i]; g.Verbs&verb != 0 && (namespace == "" || g.Namespace.Match(namespace)) {
			return true
		}
	}
	return false
}

// AllowAnywhere decides whether grants have a verb for anything at all.
func AllowAnywhere(grants []Grant, verb Verb) bool {
	for i := range grants {
		if grants[i].Verbs&verb != 0 {
			return true
		}
	}
	return false
}

// Forbidden refuses a caller who lacks a right. It names what the caller asked for and no more.
type Forbidden struct {
	Actor string
	Verb  Verb
	Key   Key // as for Allow
}

func (e Forbidden) Error() string {
	return fmt.Sprintf("%s lacks the right %s on %s", e.Actor, e.Verb, e.Pattern())
}

// Pattern is the pattern of what was asked for, namespace/service/id.
func (e Forbidden) Pattern() string {
	all := func(part string) string {
		if part == "" {
			return "*"
		}
		return part
	}
	return all(e.Key.Namespace) + "/" + all(e.Key.Service) + "/" + all(e.Key.ID)
}

// NotHeld refuses a command of a caller who may change only what the caller registered.
type NotHeld struct {
	Key    Key
	Holder string
}

func (e NotHeld) Error() string {
	return fmt.Sprintf("instance %s is not one that %s registered", e.Key, e.Holder)
}

// Holds says whether a registration's owner belongs to a holder: the owner is the holder's name, or begins with the
// name and a colon ("checkout:pod-7").
func Holds(holder, owner string) bool {
	return len(owner) >= len(holder) && owner[:len(holder)] == holder && (len(owner) == len(holder) || owner[len(holder)] == ':')
}

// HolderNamed is the holder that a caller with a name is. A token's name is its own holder. Any other name (a SPIFFE id,
// the subject of a certificate, the claim of an issuer's token) has characters that an owner cannot have, or that end a
// holder: "/" becomes "~", ":" becomes "=", and any other byte that a token's name cannot have becomes "!" and two
// hexadecimal digits. So no two names are one holder, and no owner belongs to two holders.
func HolderNamed(name string) string {
	var b []byte
	for i := range len(name) {
		switch c := name[i]; {
		case inAccessName(c):
			b = append(b, c)
		case c == '/':
			b = append(b, '~')
		case c == ':':
			b = append(b, '=')
		default:
			b = fmt.Appendf(b, "!%02x", c)
		}
	}
	return string(b)
}
