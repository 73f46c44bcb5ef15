package queries

import (
	"runtime"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// keptPieces is how many bytes of lists are kept for the lists after them.
const keptPieces = 64 << 20

// pieces is the encoded list of a service, from which the service's next list takes what has not changed: a list after a
// change of one instance of 20,000 costs the encoding of one, and a copy of the rest.
//
// INVARIANT: nothing in it changes once it is made. The entry i has the bytes from ends[i-1] (of the first entry: begin) to
// ends[i]: its JSON and one byte behind that, a comma or the list's bracket. An entry that the filter does not pick has none.
type pieces struct {
	entries []*catalog.Entry
	begin   int
	ends    []int
	bytes   []byte
}

// listOf names the lists that follow each other.
type listOf struct {
	service domain.ServiceKey
	filter  string
}

// encodePieces is encodeList of a list that comes after another. before is nil if there is none.
func encodePieces(before *pieces, frame wire.InstanceList, entries []*catalog.Entry, filter InstanceFilter) *pieces {
	frame.Instances = []wire.Instance{}
	var size int
	if before == nil {
		before, size = &pieces{}, filter.sizeOf(entries)
	} else {
		size = len(before.bytes) + len(before.bytes)/64
	}
	p := &pieces{entries: entries, ends: make([]int, 0, len(entries)), bytes: openList(mustJSON(frame), size)}
	p.begin = len(p.bytes)
	at, encodings := 0, 0 // the entry of before to look at
	for i := 0; i < len(entries); {
		same := 0
		for i+same < len(entries) && at+same < len(before.entries) && entries[i+same] == before.entries[at+same] {
			same++
		}
		if same > 0 {
			p.take(before, at, same)
			i, at = i+same, at+same
			continue
		}
		if at < len(before.entries) {
			was, is := before.entries[at].ID(), entries[i].ID()
			if was <= is {
				at++
			}
			if was < is {
				continue // an instance that ended
			}
		}
		if encodings++; encodings%yieldEvery == 0 {
			runtime.Gosched() // heartbeats that wait for a processor go first
		}
		if filter.match(entries[i]) {
			p.bytes = append(append(p.bytes, mustJSON(Show(entries[i], nil))...), ',')
		}
		p.ends = append(p.ends, len(p.bytes))
		i++
	}
	if len(p.bytes) > p.begin {
		p.bytes[len(p.bytes)-1] = ']'
	} else {
		p.bytes = append(p.bytes, ']')
	}
	p.bytes = fitted(append(p.bytes, '}'))
	return p
}

// take copies the pieces of n entries of before, from the entry at on.
func (p *pieces) take(before *pieces, at, n int) {
	begin := before.begin
	if at > 0 {
		begin = before.ends[at-1]
	}
	moved := len(p.bytes) - begin
	for _, end := range before.ends[at : at+n] {
		p.ends = append(p.ends, end+moved)
	}
	if end := before.ends[at+n-1]; end > begin {
		p.bytes = append(p.bytes, before.bytes[begin:end]...)
		p.bytes[len(p.bytes)-1] = ',' // where the list before ended there is a bracket
	}
}

// lists keeps the pieces of the lists that were encoded last, up to keptPieces bytes. The zero value is ready.
type lists struct {
	mu     sync.Mutex
	newest map[listOf]*pieces
	order  []listOf // of newest, the oldest first
	bytes  int
}

// encode is the list of a view in the live catalog.
func (l *lists) encode(frame wire.InstanceList, view *catalog.View, filter InstanceFilter) encoded.Form {
	name := listOf{view.Service, filter.Text()}
	l.mu.Lock()
	before := l.newest[name]
	l.mu.Unlock()
	made := encodePieces(before, frame, view.Entries, filter)
	form := encoded.Tagged(made.bytes)
	l.keep(name, made)
	return form
}

// size is what a list takes under its name, roughly.
func (p *pieces) size(name listOf) int {
	const each = 256
	return each + len(name.filter) + len(p.bytes) + 16*len(p.entries)
}

func (l *lists) keep(name listOf, made *pieces) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := made.size(name)
	if len(made.entries) == 0 || size > keptPieces/2 {
		return
	}
	if l.newest == nil {
		l.newest = map[listOf]*pieces{}
	}
	if before := l.newest[name]; before != nil {
		l.bytes -= before.size(name)
	} else {
		l.order = append(l.order, name)
	}
	l.newest[name] = made
	l.bytes += size
	for l.bytes > keptPieces {
		oldest := l.order[0]
		l.order = l.order[1:]
		l.bytes -= l.newest[oldest].size(oldest)
		delete(l.newest, oldest)
	}
}
