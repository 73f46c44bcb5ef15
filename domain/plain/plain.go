// Package plain reads JSON in exactly the form in which this program writes its events, as long as their texts are plain ASCII
// without escapes. That is several times as fast as decoding.
//
// INVARIANT: what a Reader reads, decoding reads in the same way. Data in any other form fails, and is to be decoded.
package plain

import (
	"encoding/binary"
	"math/bits"
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
	end := Span(r.Rest)
	if end == len(r.Rest) || r.Rest[end] != '"' {
		r.Failed = true
		return nil
	}
	text := r.Rest[:end]
	r.Rest = r.Rest[end+1:]
	return text
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Span is how many bytes come before the first quotation mark, backslash, control character, or byte above ASCII.
func Span(b []byte) int {
	n := 0
	for len(b)-n >= 8 {
		// Each term has the high bit of the bytes that it is about, and maybe of bytes after the first of these.
		x := binary.LittleEndian.Uint64(b[n:])
		quote, escape := x^('"'*ones), x^('\\'*ones)
		if ends := ((quote-ones)&^quote | (escape-ones)&^escape | (x-' '*ones)&^x | x | (x + ones)) & highs; ends != 0 {
			return n + bits.TrailingZeros64(ends)/8
		}
		n += 8
	}
	for n < len(b) && b[n] >= ' ' && b[n] < 0x7f && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

// Ended says whether an object has been read to its end.
func (r *Reader) Ended() bool { return !r.Failed && string(r.Rest) == "}" }
