// Package packed reads and writes values in the binary form of what is stored: fixed bytes, varints, and texts after their
// length.
package packed

import "encoding/binary"

// AppendBytes appends a text after its length.
func AppendBytes[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Reader reads values from the beginning of B. After a failure it gives zeroes and stays failed.
type Reader struct {
	B      []byte // what was not read yet
	Failed bool
}

// Fail notes that what was read is no value.
func (r *Reader) Fail() { r.Failed, r.B = true, nil }

// Take gives the next n bytes; nil: there are fewer. They share their memory with B.
func (r *Reader) Take(n uint64) []byte {
	if r.Failed || n > uint64(len(r.B)) {
		r.Fail()
		return nil
	}
	taken := r.B[:n:n]
	r.B = r.B[n:]
	return taken
}

func (r *Reader) Byte() byte {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *Reader) Uvarint() uint64 {
	if len(r.B) > 0 && r.B[0] < 0x80 { // most
		v := r.B[0]
		r.B = r.B[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.B)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.B = r.B[n:]
	return v
}

func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Bytes gives a text after its length.
func (r *Reader) Bytes() []byte { return r.Take(r.Uvarint()) }
