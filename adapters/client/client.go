// Package client is the Go client of a Rollcall registry. It uses the native HTTP API with the JSON forms of
// queries/wire. Of Rollcall, it imports only queries/wire and the domain.
//
// A registry may have several nodes. The client asks one node, and moves on to another when that node does not answer
// (nodes.go says which requests are sent again).
//
// The error is a *wire.Problem if the registry refuses, an *Unreachable if the server gives no answer, a *NotRollcall if
// the server is no registry, and a *Broken if a transfer ends too early.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// DefaultTimeout is how long a call may take by default.
const DefaultTimeout = 30 * time.Second

// KeepAlive is the longest time between two bytes of a stream of a registry.
const KeepAlive = 15 * time.Second

// maxEvent is the greatest length of an event in a list of events that a client accepts, in bytes.
const maxEvent = 64 << 20

// Options are the options of a client. The zero value is usable.
type Options struct {
	Namespace string // of instances and services whose key has no namespace; "": domain.DefaultNamespace
	Via       string // the via of the client's commands in the history: cli or consul; "": http
	// Timeout is how long a call may take, and how long a stream may take to begin; 0: DefaultTimeout.
	Timeout   time.Duration
	Transport http.RoundTripper // nil: http.DefaultTransport
	// Token is the secret of the token that the client shows; "": none. It goes to the registry's URL only.
	Token string
	// TokenFile is a file with the token, in place of Token. It is read for each request, since whoever issues tokens that
	// end soon, as Kubernetes does, renews them in the file. So it is a regular file, not a pipe. "": there is none.
	TokenFile string
}

// Client is a client of one registry. Several goroutines may use a Client at once.
type Client struct {
	nodes   *nodes
	options Options
	http    *http.Client
	keeper  *keeper // of the instances that Keep keeps registered
}

// New makes a client of the registry at a URL such as http://127.0.0.1:7700, or at several URLs with commas between them,
// which are the nodes of one registry. New does not connect.
func New(registry string, options Options) (*Client, error) {
	nodes, err := newNodes(registry)
	if err != nil {
		return nil, err
	}
	if !Sendable(options.Token) {
		return nil, domain.InvalidField{Field: "token", Rule: "must be printable ASCII without a space"}
	}
	if options.Namespace == "" {
		options.Namespace = domain.DefaultNamespace
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	c := &Client{nodes: nodes, options: options, http: &http.Client{Transport: options.Transport, CheckRedirect: stay}}
	c.keeper = newKeeper(c)
	return c, nil
}

// URL is the URL of the registry: of its node that the next request goes to.
func (c *Client) URL() string { return c.nodes.first() }

// Namespace is the namespace of keys that name none.
func (c *Client) Namespace() string { return c.options.Namespace }

// Reply is a reply of the registry, with the values of its headers.
type Reply[T any] struct {
	Value    T
	Raw      []byte        // the body, unchanged
	Created  bool          // the registry answered 201: the command created something
	Position wire.Position // the position that the catalog had reached
	Warning  string        // of the registry, e.g. that expiry is held; "": no warning
	// Again says that an earlier attempt of the command, of which no answer came, may have been carried out. The command was carried out
	// once. A revert tells in its answer what the last attempt found to do, which is less where an earlier one was carried out.
	Again bool
}

// token is what the client shows to the registry; "": nothing.
func (c *Client) token() (string, error) {
	if c.options.TokenFile == "" {
		return c.options.Token, nil
	}
	b, err := readFile(c.options.TokenFile)
	if err != nil {
		return "", fmt.Errorf("the token's file, which is read again for each request: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" { // it is being written: a request without a token would be refused
		return "", fmt.Errorf("the token's file %s is empty; it is read again for each request", c.options.TokenFile)
	}
	if !Sendable(token) {
		return "", fmt.Errorf("the token's file %s must have one token, of printable ASCII without a space; it is read again for each request", c.options.TokenFile)
	}
	return token, nil
}

// Sendable says whether a header can have the token. Another one would be told as a registry that does not answer.
func Sendable(token string) bool {
	return strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// request is one call of the API.
type request struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         any           // nil: no body
	timeout      time.Duration // 0: the client's timeout
	// repeatable says that it does no harm to carry the request out twice. Reads are repeatable in any case.
	repeatable bool
}

func get(path string, query url.Values) request {
	return request{method: http.MethodGet, path: path, query: query}
}

// Call sends a request and gives the body of the reply. Call is for routes for which the client has no method.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	_, b, err := c.call(ctx, request{method: method, path: path, query: query, body: body})
	return b, err
}

// ask sends a request and reads the JSON of the reply.
func ask[T any](ctx context.Context, c *Client, r request) (Reply[T], error) {
	var reply Reply[T]
	resp, b, err := c.call(ctx, r)
	if err != nil {
		return reply, err
	}
	reply.Raw, reply.Created, reply.Warning = b, resp.StatusCode == http.StatusCreated, strings.Join(resp.Header.Values("Rollcall-Warning"), "; ")
	reply.Again = resp.again
	reply.Position, err = resp.position()
	if err == nil {
		err = json.Unmarshal(b, &reply.Value)
	}
	if err == nil && hasNothing(reflect.ValueOf(&reply.Value).Elem(), b) {
		err = errors.New("it has no field that every such answer has")
	}
	if err != nil {
		return reply, c.unreadable(&r, resp, err)
	}
	return reply, nil
}
