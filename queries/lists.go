package queries

import (
	"bytes"
	"encoding/json"

	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Lists of instances are encoded instance by instance: the values of a whole catalog take several times the memory
// of its JSON.

// encodeList is the JSON of a wire.InstanceList with the instances of entries that a filter picks.
func encodeList(frame wire.InstanceList, entries []*catalog.Entry, filter InstanceFilter, table *leases.Table) encoded.Form {
	frame.Instances = []wire.Instance{}
	b := openList(mustJSON(frame), filter.room(entries))
	b, _ = appendInstances(b, entries, filter, table)
	return encoded.Tagged(fitted(append(b, "]}"...)))
}

// encodeServices is the JSON of a document that ends with its services, without those of which the filter picks no
// instance. frame has none.
func encodeServices(frame any, views []*catalog.View, filter InstanceFilter) encoded.Form {
	total := 0
	for _, v := range views {
		total += filter.room(v.Entries)
	}
	b := openList(mustJSON(frame), total)
	listed := 0
	for _, v := range views {
		before := len(b)
		if listed > 0 {
			b = append(b, ',')
		}
		b = append(b, openList(mustJSON(wire.ServiceInstances{Namespace: v.Service.Namespace, Service: v.Service.Service, Instances: []wire.Instance{}}), 0)...)
		var picked int
		if b, picked = appendInstances(b, v.Entries, filter, nil); picked == 0 {
			b = b[:before]
			continue
		}
		b = append(b, "]}"...)
		listed++
	}
	return encoded.Tagged(fitted(append(b, "]}"...)))
}

// fitted is b in not much more memory than it needs: it may be kept for long.
func fitted(b []byte) []byte {
	if cap(b)-len(b) > len(b)/4 {
		return bytes.Clone(b)
	}
	return b
}

// openList cuts the end off a document whose last field is an empty list, and makes room for what goes in there.
func openList(document []byte, room int) []byte {
	open, ok := bytes.CutSuffix(document, []byte("[]}"))
	if !ok {
		panic("the document does not end with a list: " + string(document))
	}
	return append(append(make([]byte, 0, len(document)+room), open...), '[')
}

// room is about how many bytes the JSON of entries takes, with what events say of them, names and times. What a
// narrow filter leaves of it is not known, and grows as it is needed.
func (f InstanceFilter) room(entries []*catalog.Entry) (bytes int) {
	if f.narrow() {
		return 0
	}
	for _, e := range entries {
		bytes += e.Size() + 224
	}
	return bytes
}

func appendInstances(b []byte, entries []*catalog.Entry, filter InstanceFilter, table *leases.Table) (all []byte, picked int) {
	for _, e := range entries {
		if !filter.match(e) {
			continue
		}
		if picked++; picked > 1 {
			b = append(b, ',')
		}
		instance, err := json.Marshal(Show(e, table))
		if err != nil {
			panic(err) // see mustJSON
		}
		b = append(b, instance...)
	}
	return b, picked
}
