package catalog

import (
	"slices"
	"strings"
)

// The texts of an entry are packed: of the bytes of an event, most are the names of fields and values that nearly every
// instance has, and each of these phrases is kept as one byte (ADR 084).
//
// INVARIANT: a packed text is unpacked to exactly the bytes that were packed. JSON as Rollcall writes it has no control
// characters, so a control character in a packed text is the place of a phrase. A text that has control characters of its own
// is kept as it is, behind the byte verbatim.
//
// INVARIANT: a phrase holds each string of the JSON wholly or not at all, as long as the text has no backslash. So a text
// between quotes is in a packed text as it is, or in a phrase.
var phrases = [...]string{
	`{"epoch":`,
	`{"epoch":1,"address":"`,
	`,"owner":"`,
	`","address":"`,
	`,"address":"`,
	`,"changed":["`,
	`"],"address":"`,
	`","ports":{"`,
	`","ports":{"http":`,
	`","tags":["`,
	`},"tags":["`,
	`","metadata":{"`,
	`},"metadata":{"`,
	`"],"metadata":{"`,
	`","zone":"`,
	`},"zone":"`,
	`"],"zone":"`,
	`"},"zone":"`,
	`","version":"`,
	`},"version":"`,
	`"},"version":"`,
	`","weight":100,"status":"passing","ttl":"`,
	`},"weight":100,"status":"passing","ttl":"`,
	`"},"weight":100,"status":"passing","ttl":"`,
	`","weight":100,"status":"passing","ttl":"30s"}`,
	`},"weight":100,"status":"passing","ttl":"30s"}`,
	`"},"weight":100,"status":"passing","ttl":"30s"}`,
	`,"status":"`,
	`","ttl":"`,
	`","`,
	`":"`,
}

const (
	verbatim    = 0x1f // INVARIANT: there are at most 31 phrases, so it is the place of none
	control     = 0x20 // the first byte that is no control character
	ownerPhrase = 2    // the place of ownerField
)

// starts are the bytes with which phrases begin.
const starts = `",}{`

// byStart has the places of the phrases that begin with a byte of starts and have another byte as their fourth, the longest
// first. A phrase of three bytes is last in each list of its first byte.
var byStart = func() (lists [len(starts)][128][]byte) {
	for i := range starts {
		for fourth := range byte(128) {
			for place, p := range phrases {
				if p[0] == starts[i] && (len(p) == 3 || p[3] == fourth) {
					lists[i][fourth] = append(lists[i][fourth], byte(place))
				}
			}
			slices.SortStableFunc(lists[i][fourth], func(a, b byte) int { return len(phrases[b]) - len(phrases[a]) })
		}
	}
	return lists
}()

// appendPacked appends a text in its packed form.
func appendPacked[S ~string | ~[]byte](b []byte, text S) []byte {
	begin, done := len(b), 0 // the text is packed up to done
	for i := 0; i < len(text); {
		var start int
		switch c := text[i]; c {
		case '"':
		case ',':
			start = 1
		case '}':
			start = 2
		case '{':
			start = 3
		default:
			if c < control {
				return append(append(b[:begin], verbatim), text...)
			}
			i++
			continue
		}
		place, found := longest(byStart[start][fourthOf(text[i:])], text[i:])
		if !found {
			i++
			continue
		}
		b = append(append(b, text[done:i]...), place)
		i += len(phrases[place])
		done = i
	}
	return append(b, text[done:]...)
}

func fourthOf[S ~string | ~[]byte](text S) byte {
	if len(text) < 4 {
		return 0
	}
	return text[3] & 127
}

// longest is the first of some places whose phrase a text begins with.
func longest[S ~string | ~[]byte](places []byte, text S) (place byte, found bool) {
	for _, place := range places {
		if p := phrases[place]; len(text) >= len(p) && string(text[:len(p)]) == p {
			return place, true
		}
	}
	return 0, false
}

// appendUnpacked appends the text whose packed form is given.
func appendUnpacked(b []byte, packed string) []byte {
	if len(packed) > 0 && packed[0] == verbatim {
		return append(b, packed[1:]...)
	}
	done := 0
	for i := range len(packed) {
		if c := packed[i]; c < control {
			b = append(append(b, packed[done:i]...), phrases[c]...)
			done = i + 1
		}
	}
	return append(b, packed[done:]...)
}

// unpackedLength is how many bytes appendUnpacked appends.
func unpackedLength(packed string) int {
	if len(packed) > 0 && packed[0] == verbatim {
		return len(packed) - 1
	}
	n := len(packed)
	for i := range len(packed) {
		if c := packed[i]; c < control {
			n += len(phrases[c]) - 1
		}
	}
	return n
}

// mayHold says whether a packed text may have another text between quotes. It is false only if it has not.
func mayHold(packed, text string) bool {
	return strings.Contains(packed, text) || strings.Contains(allPhrases, text)
}

var allPhrases = strings.Join(phrases[:], "\n")
