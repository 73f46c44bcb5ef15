package commands

import (
	"fmt"
	"slices"
)

// texts is memory for the encoded events of a batch. They share chunks, so that they take few allocations. Whoever keeps one event keeps
// its chunk.
//
// INVARIANT: memory that was given out is never used again.
type texts struct {
	scratch []byte // what is being encoded
	chunk   []byte // the part up to its length is in use
	items   int    // of the batch
}

const (
	fewItems  = 8 // these share nothing
	chunkSize = 16 << 10
)

func (t *texts) begin(items int) { t.items = items }

// end forgets the newest chunk, of which the events of the batch have a part.
func (t *texts) end() { t.chunk = nil }

// keep gives what was appended to scratch memory that is only its own.
func (t *texts) keep(encoded []byte, err error) []byte {
	if err != nil {
		panic(fmt.Sprintf("commands: an event of ours cannot be encoded: %v", err))
	}
	t.scratch = encoded
	n := len(encoded)
	if t.items <= fewItems || n > chunkSize/4 {
		return slices.Clone(encoded)
	}
	if n > cap(t.chunk)-len(t.chunk) {
		t.chunk = make([]byte, 0, min(chunkSize, t.items*2*n))
	}
	t.chunk = append(t.chunk, encoded...)
	return t.chunk[len(t.chunk)-n : len(t.chunk) : len(t.chunk)]
}
