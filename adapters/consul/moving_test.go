package consul_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/consul"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// ending is a store that takes a number of appends, and then no more: the registry ends there.
type ending struct {
	eventstore.Store
	left int // appends; < 0: the store takes all
}

func (s *ending) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if s.left == 0 {
		return nil, errors.New("the registry has ended")
	}
	s.left--
	return s.Store.Append(ctx, into, requests...)
}

// startEnding is a registry whose commands append to a store that may end.
func startEnding(t *testing.T) (*rig, *ending) {
	t.Helper()
	store := &ending{left: -1}
	r := start(t, func(c *consul.Config) {
		store.Store = c.Queries.Store
		reach := c.Commands.Reach
		c.Commands = commands.New(store, func() commands.Catalog { return c.Queries.Live.Catalog() }, c.Queries.Live, nil)
		c.Commands.Reach = reach
	})
	return r, store
}

// An id that takes another name has one name at any moment, wherever the registry ends meanwhile.
func TestAnIDThatMovesHasOneNameWhereverTheRegistryEnds(t *testing.T) {
	for appends := range 3 {
		for _, route := range []string{"agent", "catalog"} {
			t.Run(fmt.Sprint(appends, " appends at the ", route), func(t *testing.T) {
				r, store := startEnding(t)
				register := func(name string) reply {
					if route == "agent" {
						return r.send("PUT", "/v1/agent/service/register", `{"ID":"one","Name":"`+name+`","Port":80}`)
					}
					return r.send("PUT", "/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Service":{"ID":"one","Service":"`+name+`","Port":80}}`)
				}
				if got := register("web"); got.StatusCode != 200 {
					t.Fatal(got.body)
				}
				store.left = appends
				moved := register("site").StatusCode == 200
				if got := r.says("/v1/health/service/web") + r.says("/v1/health/service/site"); got != "one " {
					t.Errorf("the id is at %q", got)
				}
				if !moved && r.says("/v1/health/service/site") != "" {
					t.Error("a registration that failed is there")
				}
			})
		}
	}
}

// A policy that keeps an instance keeps its name, too, and then nothing is registered under the other name.
func TestAnIDThatAPolicyKeepsDoesNotMove(t *testing.T) {
	r := startWithMinReady(t, "1")
	r.put("/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Service":{"ID":"one","Service":"web","Port":80}}`)
	got := r.send("PUT", "/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Service":{"ID":"one","Service":"site","Port":80}}`)
	if got.StatusCode != 409 || !strings.Contains(got.body, "keep") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if web, site := r.says("/v1/health/service/web"), r.says("/v1/health/service/site"); web != "one " || site != "" {
		t.Errorf("web has %q, site has %q", web, site)
	}
}
