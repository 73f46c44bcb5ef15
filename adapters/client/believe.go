package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// What a client believes (ADR 164). Between a client and its registry there may be proxies, and a URL may name anything: a page of a load
// balancer, or the JSON of some other server, must not pass for an empty catalog or for a command that was carried out.

// mark begins the names of the headers that every answer of a registry has, and that of an agent.
const mark = "Rollcall-"

// marked says whether an answer is a registry's or an agent's.
func marked(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, mark) {
			return true
		}
	}
	return false
}

// notAsked is the error of an answer that is something else than what was asked for.
func (a *answer) notAsked(why string) *NotRollcall {
	return &NotRollcall{URL: a.node, Answer: a.Status + ", which is not what was asked for: " + why, Status: a.StatusCode}
}

// hasNothing says whether a body in JSON has none of the fields that every answer of its type has. Null, and the answer to another
// question, would be read as an empty list, or as a log without events. v is what was read of the body.
func hasNothing(v reflect.Value, body []byte) bool {
	always := alwaysThere(v, nil)
	if len(always) == 0 || slices.ContainsFunc(always, func(f field) bool { return !f.value.IsZero() }) {
		return false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return true
	}
	return !slices.ContainsFunc(always, func(f field) bool { _, there := members[f.name]; return there })
}

// field is a field of what was read.
type field struct {
	name  string // in JSON
	value reflect.Value
}

// alwaysThere adds the fields of a struct that are not left out when they are empty. A type that reads itself has none.
func alwaysThere(v reflect.Value, all []field) []field {
	if v.Kind() != reflect.Struct || v.Addr().Type().Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return all
	}
	for i := range v.NumField() {
		of := v.Type().Field(i)
		name, options, _ := strings.Cut(of.Tag.Get("json"), ",")
		switch {
		case of.Anonymous && name == "":
			all = alwaysThere(v.Field(i), all)
		case name != "" && name != "-" && !strings.Contains(options, "omit"):
			all = append(all, field{name, v.Field(i)})
		}
	}
	return all
}

// unreadable is notAsked for a request, which says so if a command may have been carried out.
func (c *Client) unreadable(r *request, resp *answer, why error) error {
	err := resp.notAsked(why.Error())
	return c.inDoubt(err, r.mayBeDone(err))
}

// result sends a command about an instance, and reads what became of it.
func (c *Client) result(ctx context.Context, r request, of domain.Key) (Reply[wire.Result], error) {
	reply, err := ask[wire.Result](ctx, c, r)
	of.Namespace = cmp.Or(of.Namespace, c.options.Namespace)
	if err == nil && !acknowledges(&reply.Value, of) {
		wrong := &NotRollcall{URL: c.URL(), Answer: "with something else than the result of a command about " + of.String(), Status: http.StatusOK}
		err = c.inDoubt(wrong, r.mayBeDone(wrong))
	}
	return reply, err
}

// acknowledges says whether a result is that of a command about an instance.
func acknowledges(r *wire.Result, of domain.Key) bool {
	return r.Epoch > 0 && r.Position.Number > 0 && domain.Key{Namespace: r.Namespace, Service: r.Service, ID: r.ID} == of
}

// The most bytes of an answer that a client keeps in memory. A catalog of a million instances takes about 400 MB.
const (
	maxRead    = 1 << 30  // of an answer to a read
	maxOutcome = 64 << 20 // of an answer to a command, or to a batch
)

// readBody reads an answer to its end.
func readBody(r *request, body io.Reader) ([]byte, error) {
	most := maxOutcome
	if r.reads() {
		most = maxRead
	}
	b, err := io.ReadAll(io.LimitReader(body, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("it has more than %d MiB, which is more than a client takes", most>>20)
	}
	return b, err
}

// maxRedirects is how many redirects a request follows.
const maxRedirects = 10

// stay follows a redirect within the registry's server only, since a request carries secrets: the client's token, and what a check
// tells its target. A server may send its callers from http to https of the same host. A redirect that would turn a command into
// a GET is not followed either. A redirect that is not followed is the answer.
func stay(r *http.Request, via []*http.Request) error {
	if r.Method != via[0].Method || !sameServer(r.URL, via[0].URL) || len(via) >= maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

func sameServer(to, from *url.URL) bool {
	if !strings.EqualFold(to.Hostname(), from.Hostname()) {
		return false
	}
	return to.Scheme == from.Scheme && port(to) == port(from) || to.Scheme == "https" && from.Scheme == "http"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
