package catalog

import (
	"slices"
	"strings"
)

// The texts of an entry are packed: of the bytes of an event, most are the names of fields and values that nearly every
// instance has, and each of these phrases is kept as one byte, or as two (ADR 084, 098).
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

	// These take two bytes. Most are those of checks.
	`","checks":[{"id":"`,
	`,"checks":[{"id":"`,
	`","checks":[{"id":"http","kind":"http","url":"`,
	`","kind":"http","url":"`,
	`","kind":"tcp","port":"`,
	`","kind":"tcp","target":"`,
	`","kind":"grpc","port":"`,
	`","kind":"ttl","ttl":"`,
	`","kind":"`,
	`","grpc_service":"`,
	`","interval":"`,
	`","interval":"10s","timeout":"`,
	`","interval":"10s","timeout":"1s"}]}`,
	`","interval":"10s","timeout":"2s"}]}`,
	`","interval":"10s","timeout":"5s"}]}`,
	`","interval":"10s","timeout":"2s","failures":2}]}`,
	`","timeout":"`,
	`,"failures":`,
	`,"successes":`,
	`"},{"id":"`,
	`},{"id":"`,
	`","on_lapse":"`,
	`","on_lapse":"critical","remove_after":"`,
	`","remove_after":"`,
}

const (
	oneByte     = 31   // the first phrases, which are kept as one byte: their place
	more        = 0x1f // the first byte of the other phrases. Their place, less oneByte, is the second, which is a control character, too
	verbatim    = more // INVARIANT: no packed text begins with a phrase of two bytes
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
		if !found || i == 0 && place >= oneByte {
			i++
			continue
		}
		b = append(b, text[done:i]...)
		if place < oneByte {
			b = append(b, place)
		} else {
			b = append(b, more, place-oneByte)
		}
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
	for i := 0; i < len(packed); i++ {
		if packed[i] >= control {
			continue
		}
		b = append(b, packed[done:i]...)
		phrase, last := phraseAt(packed, i)
		b = append(b, phrase...)
		i, done = last, last+1
	}
	return append(b, packed[done:]...)
}

// wellPacked says whether a text can be unpacked. appendPacked makes no other.
func wellPacked(packed string) bool {
	if len(packed) > 0 && packed[0] == verbatim {
		return true
	}
	for i := 0; i < len(packed); i++ {
		if packed[i] == more {
			if i++; i == len(packed) || oneByte+int(packed[i]) >= len(phrases) {
				return false
			}
		}
	}
	return true
}

// phraseAt is the phrase whose place is at i, and where its last byte is.
func phraseAt(packed string, i int) (phrase string, last int) {
	if packed[i] == more {
		return phrases[oneByte+int(packed[i+1])], i + 1
	}
	return phrases[packed[i]], i
}

// unpackedLength is how many bytes appendUnpacked appends.
func unpackedLength(packed string) int {
	if len(packed) > 0 && packed[0] == verbatim {
		return len(packed) - 1
	}
	n := len(packed)
	for i := 0; i < len(packed); i++ {
		if packed[i] < control {
			phrase, last := phraseAt(packed, i)
			n += len(phrase) - (last + 1 - i)
			i = last
		}
	}
	return n
}

// mayHold says whether a packed text may have another text between quotes. It is false only if it has not.
func mayHold(packed, text string) bool {
	return strings.Contains(packed, text) || strings.Contains(allPhrases, text)
}

var allPhrases = strings.Join(phrases[:], "\n")
