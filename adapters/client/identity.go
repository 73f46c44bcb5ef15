package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// identityWithin is how long a stream waits for its node to tell which event store it has.
const identityWithin = 5 * time.Second

// OtherRegistry says that a stream cannot go on where it was, because the node has another event store, in which positions
// count other events: it is a node of another registry, or its registry has lost its data and began anew.
type OtherRegistry struct {
	URL          string
	Store, Known string // the id of the node's store, and that of the store with which the stream began
}

func (e *OtherRegistry) Error() string {
	return fmt.Sprintf("%s is another registry than the one before, or lost its data: its store is %s, not %s", e.URL, e.Store, e.Known)
}

// origin is the event store whose positions a stream has: its id. "": it is not known.
type origin string

// opened notes the store of the node that answered. resumed says that the stream goes on after a position: a node with another store
// is refused then. A client with one URL does not ask.
func (o *origin) opened(ctx context.Context, c *Client, a *answer, resumed bool) error {
	if len(c.nodes.urls) == 1 {
		return nil
	}
	store := c.storeOf(ctx, a.node)
	if known := string(*o); resumed && known != "" && store != "" && store != known {
		return &OtherRegistry{URL: a.node, Store: store, Known: known}
	}
	*o = origin(cmp.Or(store, string(*o)))
	return nil
}

// storeOf is the id of a node's event store, which is the same at all nodes of a registry; "": the node does not say. A token for some
// namespaces only may not ask for it.
func (c *Client) storeOf(ctx context.Context, node string) string {
	ctx, cancel := context.WithTimeout(ctx, identityWithin)
	defer cancel()
	r := get("/v1/status", nil)
	resp, err := c.do(ctx, r, node)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var status wire.Status
	b, err := readBody(&r, resp.Body)
	if err != nil || json.Unmarshal(b, &status) != nil {
		return ""
	}
	return status.Store.ID
}
