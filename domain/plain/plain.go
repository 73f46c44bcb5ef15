// Package plain reads JSON in exactly the form in which this program writes its events, as long as their texts are plain ASCII
// without escapes. That is several times as fast as decoding.
//
// INVARIANT: what a Reader reads, decoding reads in the same way. Data in any other form fails, and is to be decoded.
package plain

import (
	"bytes"
	"strconv"
)

// Reader reads from the beginning of Rest. After a failure it stays failed, and what it reads means nothing.
type Reader struct {
	Rest   []byte
	Failed bool
}

// Literal passes over a text that may come now; false: another comes.
func (r *Reader) Literal(text string) bool {
	if len(r.Rest) < len(text) || string(r.Rest[:len(text)]) != text {
		return false
	}
	r.Rest = r.Rest[len(text):]
	return true
}

// Need passes over a text that must come now.
func (r *Reader) Need(text string) { r.Failed = !r.Literal(text) || r.Failed }

// Number reads a whole number up to a limit, in digits as JSON has them.
func (r *Reader) Number(limit uint64) uint64 {
	n := 0
	for n < len(r.Rest) && r.Rest[n] >= '0' && r.Rest[n] <= '9' {
		n++
	}
	x, err := strconv.ParseUint(string(r.Rest[:n]), 10, 64)
	r.Failed = r.Failed || err != nil || n > 1 && r.Rest[0] == '0' || x > limit
	r.Rest = r.Rest[n:]
	return x
}

// Text reads a string without escapes. It shares its memory with Rest.
func (r *Reader) Text() []byte {
	r.Need(`"`)
	end := bytes.IndexByte(r.Rest, '"')
	if end < 0 {
		r.Failed = true
		return nil
	}
	text := r.Rest[:end]
	for _, c := range text {
		if c < ' ' || c >= 0x7f || c == '\\' {
			r.Failed = true
			return nil
		}
	}
	r.Rest = r.Rest[end+1:]
	return text
}

// Ended says whether an object has been read to its end.
func (r *Reader) Ended() bool { return !r.Failed && string(r.Rest) == "}" }
