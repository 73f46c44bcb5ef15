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

// Reader reads Data from its beginning. After a failure it stays failed, and what it reads means nothing.
//
// It counts how far it has read. A slice of what is left would be stored anew at each step, and while the garbage collector marks, to store a
// pointer takes longer than the step.
type Reader struct {
	Data   []byte
	Failed bool
	at     int // Data was read up to here
}

// Left is how many bytes were not read yet.
func (r *Reader) Left() int { return len(r.Data) - r.at }

// TextComes says whether a string comes now.
func (r *Reader) TextComes() bool { return r.at < len(r.Data) && r.Data[r.at] == '"' }

// Literal passes over a text that may come now; false: another comes.
func (r *Reader) Literal(text string) bool {
	if r.Left() < len(text) || string(r.Data[r.at:r.at+len(text)]) != text {
		return false
	}
	r.at += len(text)
	return true
}

// Need passes over a text that must come now.
func (r *Reader) Need(text string) { r.Failed = !r.Literal(text) || r.Failed }

// Number reads a whole number up to a limit, in digits as JSON has them.
func (r *Reader) Number(limit uint64) uint64 {
	digits := r.Data[r.at:]
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	x, err := strconv.ParseUint(string(digits[:n]), 10, 64)
	r.Failed = r.Failed || err != nil || n > 1 && digits[0] == '0' || x > limit
	r.at += n
	return x
}

// Text reads a string without escapes. It shares its memory with Data.
func (r *Reader) Text() []byte {
	r.Need(`"`)
	begin := r.at
	end := begin + Span(r.Data[begin:])
	if end == len(r.Data) || r.Data[end] != '"' {
		r.Failed = true
		return nil
	}
	r.at = end + 1
	return r.Data[begin:end]
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
func (r *Reader) Ended() bool { return !r.Failed && r.Left() == 1 && r.Data[r.at] == '}' }
