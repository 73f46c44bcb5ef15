package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

func clientOf(t *testing.T, s *server, token string) *client.Client {
	t.Helper()
	c, err := client.New(s.URL, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// paged reads a list in pages of every size with a function that reads one page, and compares their sum with the list.
func paged(t *testing.T, list string, want []string, read func(client.Page) (names []string, next string, err error)) {
	t.Helper()
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		for page, count := (client.Page{Limit: limit}), 1; ; count++ {
			names, next, err := read(page)
			if err != nil || len(names) > limit || count > len(want)+1 {
				t.Fatalf("%s: page %d of %d has %v, %v", list, count, limit, names, err)
			}
			got = append(got, names...)
			if next == "" {
				break
			}
			page = client.Page{Cursor: next} // the limit is the cursor's
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s in pages of %d is %v, want %v", list, limit, got, want)
		}
	}
}

func TestTheClientReadsListsInPages(t *testing.T) {
	s := start(t)
	all := registerMany(t, s)
	c := clientOf(t, s, "")
	paged(t, "the services", []string{"default/db", "default/web", "shop/web"}, func(p client.Page) (names []string, next string, err error) {
		reply, err := c.ServicesPage(t.Context(), "", "", p)
		for _, service := range reply.Value.Services {
			names = append(names, service.Namespace+"/"+service.Service)
		}
		return names, reply.Value.Next, err
	})
	web := domain.ServiceKey{Service: "web"}
	paged(t, "the instances", []string{"i1", "i3", "i5"}, func(p client.Page) (names []string, next string, err error) {
		reply, err := c.InstancesPage(t.Context(), web, client.InstancesQuery{InstanceFilter: client.InstanceFilter{Zone: "b"}}, p)
		for _, i := range reply.Value.Instances {
			names = append(names, i.ID)
		}
		return names, reply.Value.Next, err
	})
	paged(t, "the catalog", all, func(p client.Page) (names []string, next string, err error) {
		reply, err := c.CatalogPage(t.Context(), client.CatalogQuery{}, p)
		for _, service := range reply.Value.Services {
			for _, i := range service.Instances {
				names = append(names, i.Key().String())
			}
		}
		return names, reply.Value.Next, err
	})
}

// The sequences go on behind the first page.
func TestTheClientYieldsWhatAllPagesHave(t *testing.T) {
	s := start(t)
	const many = 1003 // more than a page has
	var batch strings.Builder
	for i := range many {
		fmt.Fprintf(&batch, `{"type":"RegisterInstance","service":"s%04d","id":"a","address":"10.0.0.1","zone":"z%d"}`+"\n", i, i%2)
		fmt.Fprintf(&batch, `{"type":"RegisterInstance","service":"many","id":"i%04d","address":"10.0.0.1","zone":"z%d"}`+"\n", i, i%2)
	}
	s.send("POST", "/v1/commands", batch.String(), "Content-Type", "application/x-ndjson").want(t, 200)
	c := clientOf(t, s, "")
	services, instances, everything, picked := 0, 0, 0, 0
	for service, err := range c.EachService(t.Context(), "", "") {
		if services++; err != nil || service.Instances == 0 {
			t.Fatalf("%+v, %v", service, err)
		}
	}
	for i, err := range c.EachInstance(t.Context(), domain.ServiceKey{Service: "many"}, client.InstancesQuery{}) {
		if err != nil || i.ID != fmt.Sprintf("i%04d", instances) {
			t.Fatalf("instance %d is %s, %v", instances, i.ID, err)
		}
		instances++
	}
	for _, err := range c.EachOfCatalog(t.Context(), client.CatalogQuery{}) {
		if everything++; err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range c.EachOfCatalog(t.Context(), client.CatalogQuery{InstanceFilter: client.InstanceFilter{Zone: "z1"}, At: "now"}) {
		if picked++; err != nil || i.Zone != "z1" {
			t.Fatalf("%+v, %v", i, err)
		}
	}
	if services != many+1 || instances != many || everything != 2*many || picked != 2*(many/2) {
		t.Errorf("there are %d services, %d instances of one, %d of all, and %d in the zone", services, instances, everything, picked)
	}
	for _, err := range c.EachService(t.Context(), "no namespace", "") {
		if err == nil {
			t.Error("a refused list yields something")
		}
	}
}

// The pages of a caller with limited rights have what it may see only, as the whole list has: hidden instances and services
// take no place on a page, and no cursor names them.
func TestPagesOfACallerWithLimitedRightsHaveNoGaps(t *testing.T) {
	g, limited, all := startShared(t)
	for i := range 5 {
		g.send("PUT", fmt.Sprintf("/v1/services/pay-in/instances/c%d?ns=shop", i), `{"address":"10.0.0.1"}`, all...).want(t, 201)
		g.send("PUT", fmt.Sprintf("/v1/services/hidden-%d/instances/hidden?ns=shop", i), `{"address":"10.0.0.1"}`, all...).want(t, 201)
		g.send("PUT", fmt.Sprintf("/v1/services/z-hidden-%d/instances/hidden?ns=shop", i), `{"address":"10.0.0.1"}`, all...).want(t, 201)
	}
	c := clientOf(t, g.server, strings.TrimPrefix(limited[1], "Bearer "))
	for _, at := range []client.Moment{"", "now"} {
		paged(t, "the services", []string{"pay-in", "pay-out"}, func(p client.Page) (names []string, next string, err error) {
			reply, err := c.ServicesPage(t.Context(), "", at, p)
			for _, service := range reply.Value.Services {
				names = append(names, service.Service)
			}
			mustNotTellOfHidden(t, reply.Raw, reply.Value.Next)
			return names, reply.Value.Next, err
		})
		paged(t, "the catalog", []string{"a", "c0", "c1", "c2", "c3", "c4", "b"}, func(p client.Page) (names []string, next string, err error) {
			reply, err := c.CatalogPage(t.Context(), client.CatalogQuery{At: at}, p)
			for _, service := range reply.Value.Services {
				for _, i := range service.Instances {
					names = append(names, i.ID)
				}
			}
			mustNotTellOfHidden(t, reply.Raw, reply.Value.Next)
			return names, reply.Value.Next, err
		})
		paged(t, "the instances", []string{"a", "c0", "c1", "c2", "c3", "c4"}, func(p client.Page) (names []string, next string, err error) {
			reply, err := c.InstancesPage(t.Context(), domain.ServiceKey{Namespace: "shop", Service: "pay-in"}, client.InstancesQuery{At: at}, p)
			for _, i := range reply.Value.Instances {
				names = append(names, i.ID)
			}
			return names, reply.Value.Next, err
		})
	}
	// The cursor of a caller who may see more begins the page of one who may see less where it stands, and shows no more.
	var page struct{ Next string }
	g.send("GET", "/v1/services?ns=*&limit=4", "", all...).want(t, 200).json(t, &page)
	body := g.send("GET", "/v1/services?ns=*&cursor="+page.Next, "", limited...).want(t, 200).body
	mustNotTellOfHidden(t, body, "")
	if !strings.Contains(string(body), "pay-in") {
		t.Errorf("behind another's cursor is %s", body)
	}
}

func mustNotTellOfHidden(t *testing.T, body []byte, cursor string) {
	t.Helper()
	if held := decodedCursor(t, cursor); strings.Contains(string(body)+held, "hidden") {
		t.Errorf("a page tells of what is hidden: %s; its cursor holds %s", body, held)
	}
}

func decodedCursor(t *testing.T, cursor string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		t.Errorf("a cursor that is no base64: %s", cursor)
	}
	return string(b)
}
