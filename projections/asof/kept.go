package asof

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// kept are the catalogs that are kept, in families. A family is a catalog that was loaded from a snapshot, with the catalogs that
// were made from it by cloning and applying events. Clones share the entries that did not change, so a clone counts for half of its
// instances. The families come in the order of their use, newest first.
type kept struct{ families []*family }

type family struct{ members []past }

// past is a catalog at a position. Nobody changes the catalog.
type past struct {
	at      eventstore.Position
	catalog *catalog.Catalog
}

// Limits. A catalog of the past takes as much memory as the live catalog, so the number that is kept must not depend on the
// number that clients ask for. The family that was used last always keeps one catalog.
const (
	keptFamilies  = 4
	keptInstances = 250_000
	// keptMembers is how many catalogs a family keeps. Those that lie on the way to the moment that was asked for are fewer, so
	// that moments that were asked for stay, too.
	keptMembers = 24
)

// recall gives the catalog at a position; nil: there is none.
func (k *kept) recall(at eventstore.Position) *catalog.Catalog {
	for _, f := range k.families {
		for _, m := range f.members {
			if m.at == at {
				k.use(f)
				return m.catalog
			}
		}
	}
	return nil
}

// nearest is the last catalog before or at a position, with its family; nil: there is none.
func (k *kept) nearest(at eventstore.Position) (from past, of *family) {
	for _, f := range k.families {
		for _, m := range f.members {
			if m.at <= at && (of == nil || m.at > from.at) {
				from, of = m, f
			}
		}
	}
	return from, of
}

// use makes a family the first.
func (k *kept) use(f *family) {
	if i := slices.Index(k.families, f); i >= 0 {
		k.families = slices.Delete(k.families, i, i+1)
	}
	k.families = slices.Insert(k.families, 0, f)
}

// add keeps catalogs of a family, the last of which was asked for. What the limits leave no place for is dropped: families that
// were not used for the longest time, then the oldest members of this one.
func (k *kept) add(f *family, made []past) {
	k.use(f)
	for _, m := range made {
		if !slices.ContainsFunc(f.members, func(other past) bool { return other.at == m.at }) {
			f.members = append(f.members, m)
		}
	}
	for len(f.members) > keptMembers {
		f.members = slices.Delete(f.members, 0, 1)
	}
	for len(k.families) > 1 && (len(k.families) > keptFamilies || k.weight() > keptInstances) {
		k.families = slices.Delete(k.families, len(k.families)-1, len(k.families))
	}
	for len(f.members) > 1 && k.weight() > keptInstances {
		f.members = slices.Delete(f.members, 0, 1)
	}
}

// weight is the number of instances for which the kept catalogs count.
func (k *kept) weight() (instances int) {
	for _, f := range k.families {
		for i, m := range f.members {
			if i == 0 {
				instances += m.catalog.Len()
			} else {
				instances += m.catalog.Len() / 2
			}
		}
	}
	return instances
}
