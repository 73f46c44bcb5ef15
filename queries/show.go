package queries

import (
	"encoding/json"

	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Formats under which views and changes keep how they are written.
const (
	formatAll   = "json"       // every instance of a view, or a change for who takes every instance
	formatReady = "json ready" // the instances that may get traffic
)

// Show is an entry's form for people and programs, with the end of its lease where a table is given.
func Show(e *catalog.Entry, ends *leaseEnds) wire.Instance {
	i := ShowWhole(e, ends)
	for c := range i.Checks {
		i.Checks[c].Check = i.Checks[c].Concealed()
	}
	return i
}

// ShowWhole is Show with what checks send to their targets, for those who may change the instance.
func ShowWhole(e *catalog.Entry, ends *leaseEnds) wire.Instance {
	service := e.Service()
	i := wire.Instance{
		Namespace: service.Namespace, Service: service.Service, ID: e.ID(), Details: e.Details(),
		Traffic: e.Traffic(), Maintenance: e.Maintenance(), Epoch: e.Epoch(), Owner: e.Owner(), Revision: e.Revision(), RegisteredAt: e.RegisteredAt(), ChangedAt: e.ChangedAt(),
	}
	i.Status = e.Status()
	showHealth(&i, e)
	if ends == nil {
		return i
	}
	if l, ok := ends.table.Find(e.Key()); ok {
		until := ends.recorded(l.Deadline)
		i.LeaseExpiresAt = &until
	}
	return i
}

// mustJSON encodes what cannot fail to encode: strings, numbers and times of ours.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
