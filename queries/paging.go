package queries

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// MaxListPage is how many services or instances a page of a list may have.
const MaxListPage = 10_000

// ListPage is a page of a list of services or of instances. Lists are in the order of their names, and a page goes on after
// the name with which the page before ended. What is registered while all pages are read is in exactly one of them,
// whatever comes and goes meanwhile. With a moment, all pages are of the catalog of the first.
//
// A nil *ListPage is the whole list.
type ListPage struct {
	At string // the moment's position where a moment is asked for, so that a relative moment does not move between pages

	limit  int
	after  domain.Key // the page begins after it; a list of services has no ID
	scope  string
	cursor string
}

// listCursor is what a cursor holds.
type listCursor struct {
	Scope string `json:"s"` // of the parameters that the list was asked for with
	After string `json:"k"`
	At    string `json:"a,omitempty"`
	Limit int    `json:"l"`
}

// ParseListPage reads the parameters limit and cursor; nil: both are "". scope is all else that tells one list from another:
// a cursor goes on with the list that gave it.
func ParseListPage(limit, cursor string, scope ...string) (*ListPage, error) {
	if limit == "" && cursor == "" {
		return nil, nil
	}
	p := &ListPage{scope: strconv.FormatUint(xxhash.Sum64String(strings.Join(scope, "\x00")), 36), cursor: cursor}
	otherwise := int64(DefaultPage)
	if cursor != "" {
		c, err := parseListCursor(cursor)
		if err != nil {
			return nil, err
		}
		if c.Scope != p.scope {
			return nil, domain.InvalidField{Field: "cursor", Rule: "must be used with the parameters of the page that gave it"}
		}
		parts := strings.SplitN(c.After, "/", 3)
		p.after, p.At, otherwise = domain.Key{Namespace: parts[0], Service: parts[1], ID: parts[2]}, c.At, int64(c.Limit)
	}
	n, err := ParseNumber("limit", limit, otherwise, 1, MaxListPage)
	p.limit = int(n)
	return p, err
}

func parseListCursor(text string) (c listCursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || strings.Count(c.After, "/") < 2 || c.Limit < 1 || c.Limit > MaxListPage {
		return c, domain.InvalidField{Field: "cursor", Rule: "must be one that a page gave as next"}
	}
	return c, nil
}

// next is the cursor of the page that begins after a name.
func (p *ListPage) next(c *Catalog, last domain.Key) string {
	cursor := listCursor{Scope: p.scope, After: last.Namespace + "/" + last.Service + "/" + last.ID, Limit: p.limit}
	if !c.Live {
		cursor.At = c.service.At(c.Moment.Position).String()
	}
	return base64.RawURLEncoding.EncodeToString(mustJSON(cursor))
}

// name tells the page from all others of its list.
func (p *ListPage) name() string { return " page " + strconv.Itoa(p.limit) + " " + p.cursor }

// ServicesPage is Services, a page of them.
func (c *Catalog) ServicesPage(ctx context.Context, namespace string, page *ListPage) (encoded.Form, error) {
	if page == nil {
		return c.Services(ctx, namespace)
	}
	within, err := within(namespace)
	if err != nil {
		return encoded.Form{}, err
	}
	changed, err := c.changed(ctx)
	if err != nil {
		return encoded.Form{}, err
	}
	return c.made(ctx, "services "+namespace+c.name()+page.name(), func() encoded.Form {
		list := wire.ServiceList{Position: c.service.At(changed()), Note: c.Moment.note(), Services: []wire.ServiceSummary{}}
		for _, key := range page.services(c, within) {
			if page.after.ID == "" && key == page.after.ServiceKey() {
				continue
			}
			s := c.summary(key)
			if s.Instances == 0 {
				continue
			}
			if len(list.Services) == page.limit {
				last := list.Services[page.limit-1]
				list.Next = page.next(c, domain.Key{Namespace: last.Namespace, Service: last.Service})
				break
			}
			list.Services = append(list.Services, s)
		}
		if c.Live {
			list.ExpiryHeld = c.Visible.held(c.service.expiryHeld(within), list.Services)
		}
		return encoded.Tagged(mustJSON(list))
	})
}

// services are the services of a namespace ("": of all) that the caller may see, from the page's beginning on. The service in
// which the page before ended is among them.
func (p *ListPage) services(c *Catalog, namespace string) []domain.ServiceKey {
	all := c.catalog.Services(namespace)
	begin, _ := slices.BinarySearchFunc(all, p.after.ServiceKey(), catalog.ByName)
	if c.Visible == nil {
		return all[begin:]
	}
	return slices.DeleteFunc(slices.Clone(all[begin:]), func(key domain.ServiceKey) bool { return !c.Visible(key) })
}

// InstancesPage is Instances, a page of them.
func (c *Catalog) InstancesPage(ctx context.Context, key domain.ServiceKey, filter InstanceFilter, withLeases bool, page *ListPage) (encoded.Form, error) {
	if page == nil {
		return c.Instances(ctx, key, filter, withLeases)
	}
	if filter.MaxSilence > 0 && !c.Live {
		return encoded.Form{}, filter.refuseSilence("at", silencePast)
	}
	now, err := c.viewOf(ctx, key)
	if err != nil {
		return encoded.Form{}, err
	}
	name := "list " + key.String() + " " + filter.Text() + c.name() + page.name() + strconv.FormatBool(withLeases)
	return c.service.made(ctx, name, page.cost(filter, len(now.Entries)), func() encoded.Form {
		view := now
		if c.Live { // the newest, for all who share the answer
			view = c.view(key)
		}
		frame := wire.InstanceList{Service: view.Service.Service, Namespace: view.Service.Namespace, Position: c.service.At(view.Position), Note: c.Moment.note()}
		given, panics := c.given(view, filter)
		frame.Panic = panics
		picked, more := c.pick(view, given, page.after.ID, page.limit)
		if more {
			frame.Next = page.next(c, picked[len(picked)-1].Key())
		}
		return encodeList(frame, picked, InstanceFilter{}, c.leases(withLeases))
	})
}

// cost is how many entries a page looks at, of so many: a narrow filter may pick few of them.
func (p *ListPage) cost(filter InstanceFilter, entries int) int {
	if filter.narrow() || filter.Ready {
		return entries
	}
	return min(entries, p.limit)
}

// leases are the leases that a reply shows; nil: it shows none.
func (c *Catalog) leases(shown bool) *leaseEnds {
	if !shown || !c.Live {
		return nil
	}
	return c.service.leaseEnds()
}

// pick gives the entries of a view behind an id that a filter picks, at most limit, and says whether there are more.
func (c *Catalog) pick(view *catalog.View, filter InstanceFilter, after string, limit int) (picked []*catalog.Entry, more bool) {
	begin, found := slices.BinarySearchFunc(view.Entries, after, func(e *catalog.Entry, id string) int { return strings.Compare(e.ID(), id) })
	if found {
		begin++
	}
	entries := view.Entries[begin:]
	if filter.MaxSilence > 0 {
		entries = c.service.heard(entries, filter.MaxSilence)
	}
	for _, e := range entries {
		if !filter.match(e) {
			continue
		}
		if len(picked) == limit {
			return picked, true
		}
		picked = append(picked, e)
	}
	return picked, false
}

// EverythingPage is Everything, a page of its instances. A service whose instances are on several pages is on each of them.
func (c *Catalog) EverythingPage(ctx context.Context, namespace string, filter InstanceFilter, page *ListPage) (encoded.Form, error) {
	if page == nil {
		return c.Everything(ctx, namespace, filter)
	}
	if err := c.checkEverything(namespace, filter); err != nil {
		return encoded.Form{}, err
	}
	return c.made(ctx, "catalog "+namespace+" "+filter.Text()+c.name()+page.name(), func() encoded.Form {
		frame := wire.Catalog{Place: c.place(), Services: []wire.ServiceInstances{}}
		left := page.limit
		var last domain.Key
		var views []*catalog.View
		for _, key := range page.services(c, namespace) {
			after := ""
			if key == page.after.ServiceKey() {
				after = page.after.ID
			}
			view := c.catalog.View(key)
			given, _ := c.given(view, filter)
			picked, more := c.pick(view, given, after, left)
			if len(picked) > 0 {
				views = append(views, &catalog.View{Service: key, Position: view.Position, Entries: picked})
				left -= len(picked)
				last = picked[len(picked)-1].Key()
			}
			if more {
				frame.Next = page.next(c, last)
				break
			}
		}
		return encodeServices(frame, views, c.givenBy(InstanceFilter{}))
	})
}
