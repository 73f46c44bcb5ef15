package queries

import (
	"bytes"
	"encoding/json"
	"runtime"

	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Lists of instances are encoded instance by instance. To build the values of a whole catalog first would take several
// times the memory of the catalog's JSON.

// encodeList is the JSON of a wire.InstanceList with the instances of entries that a filter picks.
func encodeList(frame wire.InstanceList, entries []*catalog.Entry, filter InstanceFilter, ends *leaseEnds) encoded.Form {
	frame.Instances = []wire.Instance{}
	b := openList(mustJSON(frame), filter.sizeOf(entries))
	b, _ = appendInstances(b, entries, filter, ends)
	return encoded.Tagged(fitted(append(b, "]}"...)))
}

// encodeServices is the JSON of a document whose last field is the list of services. Services of which the filter picks no
// instance are left out. frame is the document with an empty list.
//
// given is the filter by which the instances of a view are given, and the panic of its service.
func encodeServices(frame any, views []*catalog.View, given func(*catalog.View) (InstanceFilter, *wire.Panic)) encoded.Form {
	total := 0
	for _, v := range views {
		filter, _ := given(v)
		total += filter.sizeOf(v.Entries)
	}
	b := openList(mustJSON(frame), total)
	listed := 0
	for _, v := range views {
		before := len(b)
		filter, panics := given(v)
		if listed > 0 {
			b = append(b, ',')
		}
		b = append(b, openList(mustJSON(wire.ServiceInstances{Namespace: v.Service.Namespace, Service: v.Service.Service, Panic: panics, Instances: []wire.Instance{}}), 0)...)
		var picked int
		b, picked = appendInstances(b, v.Entries, filter, nil)
		if picked == 0 {
			b = b[:before]
			continue
		}
		b = append(b, "]}"...)
		listed++
	}
	return encoded.Tagged(fitted(append(b, "]}"...)))
}

// fitted is b, or a copy of b if b has much spare capacity: views keep the result for long.
func fitted(b []byte) []byte {
	if cap(b)-len(b) > len(b)/4 {
		return bytes.Clone(b)
	}
	return b
}

// openList cuts off the end of a document whose last field is an empty list, so that the elements of the list can be
// appended. The result has spare capacity for size bytes.
func openList(document []byte, size int) []byte {
	open, ok := bytes.CutSuffix(document, []byte("[]}"))
	if !ok {
		panic("the document does not end with a list: " + string(document))
	}
	return append(append(make([]byte, 0, len(document)+size), open...), '[')
}

// sizeOf estimates the length of the JSON of entries. For a narrow filter the estimate is 0, for the number of entries that
// the filter picks is not known.
func (f InstanceFilter) sizeOf(entries []*catalog.Entry) (bytes int) {
	if f.narrow() {
		return 0
	}
	for _, e := range entries {
		bytes += e.Size() + 224
	}
	return bytes
}

// appendInstances appends the JSON of the instances that the filter picks, with commas between them.
// yieldEvery is after how many instances others may run: less than a millisecond's work.
const yieldEvery = 128

func appendInstances(b []byte, entries []*catalog.Entry, filter InstanceFilter, ends *leaseEnds) (all []byte, picked int) {
	for i, e := range entries {
		if i%yieldEvery == yieldEvery-1 {
			runtime.Gosched() // heartbeats that wait for a processor go first
		}
		if !filter.match(e) {
			continue
		}
		picked++
		if picked > 1 {
			b = append(b, ',')
		}
		instance, err := json.Marshal(Show(e, ends))
		if err != nil {
			panic(err) // cannot happen: an instance has strings, numbers and times only
		}
		b = append(b, instance...)
	}
	return b, picked
}
