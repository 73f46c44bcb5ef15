package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// nodes are the nodes of a registry. Requests go to one node as long as that node answers. A request goes on to another
// node if its node gave no answer, is not able to serve, or is no registry, and
//   - the request is a read, or
//   - it surely wrote nothing: no connection was made, or the node said so, or
//   - it does no harm twice, as a heartbeat, or it has a key under which the registry carries it out once.
//
// The outcome of any other command is unknown, and the caller is told so. So is the outcome of a command with a key that no
// node answered in the end.
type nodes struct {
	urls []string // without a slash at the end; at least one

	mu  sync.Mutex
	now int // the node to which the next request goes
}

// newNodes reads URLs with commas between them.
func newNodes(list string) (*nodes, error) {
	n := &nodes{}
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, domain.InvalidField{Field: "url", Rule: "must be like http://127.0.0.1:7700"}
		}
		if port := u.Port(); port != "" {
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return nil, domain.InvalidField{Field: "url", Rule: "must have a port of at most 65535"}
			}
		}
		text = strings.TrimRight(text, "/")
		if slices.Contains(n.urls, text) {
			return nil, domain.InvalidField{Field: "url", Rule: "must not name " + text + " twice"}
		}
		n.urls = append(n.urls, text)
	}
	return n, nil
}

// first is the node to which the next request goes.
func (n *nodes) first() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.urls[n.now]
}

// order is the order in which a request tries the nodes: the first one, and then the others at random, so that the
// clients of a node that died spread over the others.
func (n *nodes) order() []string {
	first := n.first()
	order := slices.Clone(n.urls)
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	i := slices.Index(order, first)
	order[0], order[i] = order[i], order[0]
	return order
}

// stay lets the next request go to a node that answered.
func (n *nodes) stay(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = slices.Index(n.urls, node)
}

// leave lets the next request go to another node than one that did not answer.
func (n *nodes) leave(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.urls) > 1 && n.urls[n.now] == node {
		n.now = (n.now + 1 + rand.N(len(n.urls)-1)) % len(n.urls)
	}
}

// rounds is how often a request tries all nodes, while nodes answer that they cannot serve now: a cluster has no leader
// for about a second after the leader died.
const rounds = 5

// each tries a request at one node after the other, until one serves it. try must return the error of its node. again says that an
// earlier attempt may have been carried out, too.
func (c *Client) each(ctx context.Context, r request, try func(node string) error) (again bool, err error) {
	wait := firstPause
	unknown := false // an attempt may have been carried out
	var failed failures
	for round := range rounds {
		answered := false
		for _, node := range c.nodes.order() {
			last := try(node)
			var said *wire.Problem
			if last == nil || errors.As(last, &said) && !said.NodeCannotServe() {
				c.nodes.stay(node)
				return unknown, last
			}
			c.nodes.leave(node)
			unknown = unknown || r.mayBeDone(last)
			failed = failed.and(node, last)
			if ctx.Err() != nil || !goesOn(r, last) {
				return unknown, c.inDoubt(failed.told(last, c.nodes.urls), unknown)
			}
			err = worse(err, last)
			answered = answered || said != nil
		}
		if !answered || len(c.nodes.urls) == 1 || round == rounds-1 {
			break
		}
		pause(ctx, wait/2+rand.N(wait/2))
		if wait *= 2; ctx.Err() != nil {
			break
		}
	}
	return unknown, c.inDoubt(failed.told(err, c.nodes.urls), unknown)
}

// inDoubt is an error that says so if the command may have been carried out.
func (c *Client) inDoubt(err error, unknown bool) error {
	var silent *Unreachable
	var said *wire.Problem
	if !unknown || errors.As(err, &silent) && silent.Unknown || errors.As(err, &said) && said.OutcomeUnknown() {
		return err
	}
	if errors.As(err, &silent) {
		return &Unreachable{URL: silent.URL, Err: silent.Err, Unknown: true}
	}
	return &Unreachable{URL: strings.Join(c.nodes.urls, ", "), Err: err, Unknown: true}
}

// mayBeDone says whether a command that failed at a node may have been carried out.
func (r *request) mayBeDone(err error) bool {
	var (
		silent *Unreachable
		other  *NotRollcall
		said   *wire.Problem
	)
	switch {
	case r.reads() || r.repeatable && r.header[headerKey] == "": // nobody needs to know
		return false
	case errors.As(err, &silent):
		return silent.Unknown
	case errors.As(err, &said):
		return said.OutcomeUnknown()
	}
	if errors.As(err, &other) { // a proxy in front of the node may have said so in the place of the node's answer
		return other.Status < http.StatusMultipleChoices || other.Status >= http.StatusInternalServerError
	}
	return errors.As(err, new(*Broken))
}

// goesOn says whether a request that failed at a node is tried at another node.
func goesOn(r request, err error) bool {
	again := r.repeatable || r.reads()
	var (
		silent *Unreachable
		other  *NotRollcall
		said   *wire.Problem
	)
	switch {
	case errors.As(err, &silent):
		return again || !silent.Unknown
	case errors.As(err, &other): // e.g. a proxy in front of the node says that the node is away
		return again
	case errors.As(err, &said):
		return said.NodeCannotServe() && (again || !said.OutcomeUnknown())
	}
	return again && errors.As(err, new(*Broken))
}

// reads says whether a request changes nothing.
func (r *request) reads() bool { return r.method == http.MethodGet || r.method == http.MethodHead }

// share is how long one of n nodes may take to answer before the next one is tried, if the whole request may take
// timeout. A long poll takes longer than usual by its wait, which every node may take.
func share(timeout, usual time.Duration, n int) time.Duration {
	wait := max(timeout-usual, 0)
	return wait + (timeout-wait)/time.Duration(n)
}
