package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// maxPage is how many items a page may have.
const maxPage = 1000

// Page says which page of a list is meant. What is registered while all pages are read is on exactly one of them, and with a
// moment all pages are of the catalog of the first.
type Page struct {
	Limit  int    // most services or instances of a page, up to 10,000; 0: as many as of the page before, or 1,000
	Cursor string // Next of the page before; "": the first page
}

// set asks for a page. A request with neither parameter is for the whole list.
func (p Page) set(q url.Values) {
	if p.Limit == 0 && p.Cursor == "" {
		p.Limit = maxPage
	}
	if p.Limit != 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	set(q, "cursor", p.Cursor)
}

// CatalogQuery picks instances of all services. The zero value picks every instance.
type CatalogQuery struct {
	InstanceFilter
	Namespace string // "": every namespace
	At        Moment // "": now
	// Index and Wait make a long poll: the registry answers when the catalog's position is not Index any more, or when Wait is
	// over. Wait 0: the registry answers at once.
	Index wire.Position
	Wait  time.Duration
}

func (c *Client) catalogRequest(q CatalogQuery) request {
	query := url.Values{}
	q.set(query)
	set(query, "ns", q.Namespace)
	set(query, "at", q.At)
	r := get("/v1/catalog", query)
	c.wait(&r, q.Index, q.Wait)
	return r
}

// wait makes a request a long poll. A wait of 0 leaves it as it is.
func (c *Client) wait(r *request, index wire.Position, wait time.Duration) {
	if wait <= 0 {
		return
	}
	r.query.Set("wait", wait.String())
	r.query.Set("index", index.String())
	r.timeout = c.options.Timeout + wait + wait/8 // the registry makes each wait longer by a random part
}

// CatalogOf has the services whose instances a query picks, with these instances.
func (c *Client) CatalogOf(ctx context.Context, q CatalogQuery) (Reply[wire.Catalog], error) {
	return ask[wire.Catalog](ctx, c, c.catalogRequest(q))
}

// CatalogPage is a page of CatalogOf. Its limit counts instances: a service whose instances are on several pages is on each of
// them.
func (c *Client) CatalogPage(ctx context.Context, q CatalogQuery, page Page) (Reply[wire.Catalog], error) {
	r := c.catalogRequest(q)
	page.set(r.query)
	return ask[wire.Catalog](ctx, c, r)
}

// ServicesPage is a page of Services.
func (c *Client) ServicesPage(ctx context.Context, namespace string, at Moment, page Page) (Reply[wire.ServiceList], error) {
	r := servicesRequest(namespace, at)
	page.set(r.query)
	return ask[wire.ServiceList](ctx, c, r)
}

// InstancesPage is a page of Instances.
func (c *Client) InstancesPage(ctx context.Context, k domain.ServiceKey, q InstancesQuery, page Page) (Reply[wire.InstanceList], error) {
	r, err := c.instancesRequest(k, q)
	if err != nil {
		return Reply[wire.InstanceList]{}, err
	}
	page.set(r.query)
	return ask[wire.InstanceList](ctx, c, r)
}

// EachService yields the services of all pages of ServicesPage. An error ends the sequence.
func (c *Client) EachService(ctx context.Context, namespace string, at Moment) iter.Seq2[wire.ServiceSummary, error] {
	return each(func(page Page) ([]wire.ServiceSummary, string, error) {
		reply, err := c.ServicesPage(ctx, namespace, at, page)
		return reply.Value.Services, reply.Value.Next, err
	})
}

// EachInstance yields the instances of all pages of InstancesPage. An error ends the sequence.
func (c *Client) EachInstance(ctx context.Context, k domain.ServiceKey, q InstancesQuery) iter.Seq2[wire.Instance, error] {
	return each(func(page Page) ([]wire.Instance, string, error) {
		if page.Cursor != "" {
			q.Index, q.Wait = wire.Position{}, 0 // the first page has waited
		}
		reply, err := c.InstancesPage(ctx, k, q, page)
		return reply.Value.Instances, reply.Value.Next, err
	})
}

// EachOfCatalog yields the instances of all pages of CatalogPage. An error ends the sequence.
func (c *Client) EachOfCatalog(ctx context.Context, q CatalogQuery) iter.Seq2[wire.Instance, error] {
	return each(func(page Page) (all []wire.Instance, next string, err error) {
		if page.Cursor != "" {
			q.Index, q.Wait = wire.Position{}, 0 // the first page has waited
		}
		reply, err := c.CatalogPage(ctx, q, page)
		for _, s := range reply.Value.Services {
			all = append(all, s.Instances...)
		}
		return all, reply.Value.Next, err
	})
}

// each yields what page after page has. read gives a page and the cursor of the one after it.
func each[T any](read func(Page) (values []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for page := (Page{Limit: maxPage}); ; {
			values, next, err := read(page)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, v := range values {
				if !yield(v, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if err := moved(page.Cursor, next); err != nil {
				yield(*new(T), err)
				return
			}
			page.Cursor = next
		}
	}
}

// moved refuses a page that names itself as the one after it: whoever read on would never end.
func moved(cursor, next string) error {
	if next == cursor && next != "" {
		return errors.New("the registry gave a page whose next page is the same page")
	}
	return nil
}

// pages asks for page after page and adds each to the first. next is where a page has the cursor of the one after it.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values, next func(*T) *string, add func(all *T, page T)) (all Reply[T], err error) {
	query.Set("limit", strconv.Itoa(maxPage))
	all, err = ask[T](ctx, c, get(path, query))
	if err != nil || *next(&all.Value) == "" {
		return all, err
	}
	for cursor := *next(&all.Value); cursor != ""; {
		query.Set("cursor", cursor)
		page, err := ask[T](ctx, c, get(path, query))
		if err != nil {
			return all, err
		}
		add(&all.Value, page.Value)
		if err := moved(cursor, *next(&page.Value)); err != nil {
			return all, err
		}
		cursor = *next(&page.Value)
	}
	*next(&all.Value) = ""
	all.Raw, err = json.Marshal(all.Value)
	return all, err
}
