package client

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// failures are why the nodes did not serve a request, by their URLs. Of several failures of a node the one stays that tells most.
type failures map[string]error

// and adds a failure; nil: there was none.
func (f failures) and(node string, err error) failures {
	if f == nil {
		f = failures{}
	}
	f[node] = worse(f[node], err)
	return f
}

// causes is the error of a request that failed at several nodes. Its text tells each node once, with its own cause.
type causes struct {
	main error // the error that decides what the caller does next
	text string
}

func (e *causes) Error() string { return e.text }

func (e *causes) Unwrap() error { return e.main }

// told is an error that says why a request failed at every node where it was tried. main is the error of one of them.
func (f failures) told(main error, urls []string) error {
	if len(f) < 2 {
		return main
	}
	tried := slices.DeleteFunc(slices.Clone(urls), func(node string) bool { return f[node] == nil })
	e := &causes{main, f.text(tried)}
	var silent *Unreachable
	var said *wire.Problem
	if errors.As(main, &said) && e.text == answers(tried, said) { // all nodes say the same
		return main
	}
	if errors.As(main, &silent) {
		return &Unreachable{URL: strings.Join(tried, ", "), Err: e, Unknown: silent.Unknown}
	}
	return e
}

// text tells first what nodes say, then what other servers say, and then which nodes are silent. It does not depend on the order in
// which the nodes were tried. Nodes that fail alike are told together.
func (f failures) text(tried []string) string {
	byWeight := slices.Clone(tried)
	slices.SortStableFunc(byWeight, func(a, b string) int { return cmp.Compare(weight(f[b]), weight(f[a])) })
	var parts []string
	for len(byWeight) > 0 {
		first := byWeight[0]
		alike := func(node string) bool { return f.cause(node) == f.cause(first) }
		group := slices.DeleteFunc(slices.Clone(byWeight), func(node string) bool { return !alike(node) })
		byWeight = slices.DeleteFunc(byWeight, alike)
		parts = append(parts, f.part(group))
	}
	return strings.Join(parts, "; ")
}

// part tells of nodes that failed alike.
func (f failures) part(group []string) string {
	var said *wire.Problem
	err := f[group[0]]
	switch {
	case errors.As(err, &said):
		return answers(group, said)
	case errors.As(err, new(*Unreachable)):
		return "no answer from " + strings.Join(group, ", ") + ": " + f.cause(group[0])
	}
	return err.Error() // it names the server
}

func answers(nodes []string, said *wire.Problem) string {
	return strings.Join(nodes, ", ") + " answered: " + said.Error()
}

// cause is why a node failed. The address that could not be reached is left out where the URL has it.
func (f failures) cause(node string) string {
	var silent *Unreachable
	if !errors.As(f[node], &silent) {
		return f[node].Error()
	}
	dial, ok := silent.Err.(*net.OpError)
	if at, err := url.Parse(node); !ok || err != nil || dial.Op != "dial" || dial.Addr == nil || dial.Addr.String() != at.Host {
		return silent.Err.Error()
	}
	if call, ok := dial.Err.(*os.SyscallError); ok {
		return call.Err.Error()
	}
	return dial.Err.Error()
}

// worse is the error that tells more. Of two that tell as much it is the later one, b.
func worse(a, b error) error {
	if weight(a) > weight(b) {
		return a
	}
	return b
}

// weight says how much an error tells: what a node says tells more than what another server says, and that more than silence.
func weight(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(*wire.Problem)):
		return 3
	case answered(err):
		return 2
	}
	return 1
}
