package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// nodeKey is the instance that stands for a node.
func nodeKey(namespace, name string) domain.Key {
	return domain.Key{Namespace: namespace, Service: nodeService, ID: escape(name)}
}

// ensureNode gives a node an instance, where it has none.
func (f *face) ensureNode(q *request, n node) (domain.Key, error) {
	key := nodeKey(q.namespace, n.name)
	if f.Queries.Live.Catalog().Find(key) != nil {
		return key, nil
	}
	details, err := nodeDetails(n, origin{})
	if err != nil {
		return key, err
	}
	_, err = f.do(q, domain.RegisterInstance{Key: key, Details: details, CreateOnly: true})
	if _, live := err.(domain.AlreadyLive); live {
		err = nil
	}
	return key, err
}

// nodeDetails are those of an instance that stands for a node. It takes no traffic.
func nodeDetails(n node, o origin) (d domain.Details, err error) {
	o.IsNode, o.Node, o.NodeAddress = true, n.name, n.address
	d = domain.Details{Address: n.address, TTL: domain.NoTTL, Status: worst(o.Written)}
	d.Origin, err = o.encode()
	return d, err
}

// registerNodeCheck gives the caller's node a check. It never removes an instance.
func (f *face) registerNodeCheck(q *request, n node, id string, body checkDefinition) error {
	check, _, err := f.definition(id, body)
	if err != nil {
		return err
	}
	check.RemoveAfter = 0
	if err := (domain.AddCheck{Key: nodeKey(q.namespace, n.name), Check: check}).Validate(); err != nil {
		return err // no node is kept for it
	}
	return f.again(q, func() error {
		key, err := f.ensureNode(q, n)
		if err != nil {
			return err
		}
		return f.addCheck(q, n, key, id, check, body.Status)
	})
}

// attempts is how often something is tried that others get in the way of.
const attempts = 32

// again does what was decided on the catalog, once more if another request removes the instance, makes or changes it meanwhile. The
// catalog may not show yet what the other request did, so the next attempt waits for it.
func (f *face) again(q *request, do func() error) (err error) {
	for range attempts {
		if err = do(); err == nil || !isGone(err) && !isOvertaken(err) {
			return err
		}
		if f.catchUp(q.Request().Context()) != nil {
			return err
		}
	}
	return err
}

// catchUp waits until the catalog shows what is in the store.
func (f *face) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	head, err := f.Queries.Store.Head(ctx)
	if err != nil {
		return err
	}
	return f.Queries.Live.WaitFor(ctx, head)
}

// isOvertaken says whether a command was refused because another one came before it.
func isOvertaken(err error) bool {
	var live domain.AlreadyLive
	var check domain.UnknownCheck // the instance was removed, and made without the check
	var other domain.RevisionMismatch
	return errors.As(err, &live) || errors.As(err, &check) || errors.As(err, &other) || errors.Is(err, commands.ErrContended)
}

// isGone says whether a command was refused because its instance is not there.
func isGone(err error) bool {
	var unknown domain.UnknownInstance
	var lapsed domain.LeaseLapsed
	var nothing domain.NothingToMatch
	return errors.As(err, &unknown) || errors.As(err, &lapsed) || errors.As(err, &nothing)
}

// amend changes the details and the origin of a live instance, and its status with that of the checks in the origin.
func (f *face) amend(q *request, key domain.Key, change func(*domain.Details, *origin)) error {
	return f.amendAs(q, key, func(c domain.RegisterInstance) (domain.Command, error) { return q.who.Command(c) }, change)
}

// amendAs is amend with another judgement of what the caller may do.
func (f *face) amendAs(q *request, key domain.Key, allowed func(domain.RegisterInstance) (domain.Command, error), change func(*domain.Details, *origin)) error {
	for attempt := 1; ; attempt++ {
		entry := f.Queries.Live.Catalog().Find(key)
		if entry == nil {
			return domain.UnknownInstance{Key: key}
		}
		revision := entry.Revision()
		amended, err := amended(key, entry.Details(), change)
		if err != nil {
			return err
		}
		command, err := allowed(amended)
		if err != nil {
			return err
		}
		err = f.Commands.Do(q.Request().Context(), q.caller(), commands.Request{Command: command, IfMatch: &revision}).Err
		var other domain.RevisionMismatch
		if !errors.As(err, &other) || attempt == attempts {
			return err
		}
		changed := func() bool {
			e := f.Queries.Live.Catalog().Find(key)
			return e == nil || e.Revision() >= other.Actual
		}
		if err := f.Queries.AwaitUntil(q.Request().Context(), time.Second, changed, key.ServiceKey()); err != nil {
			return err
		}
	}
}

// amended is the registration of an instance after a change of its details and origin.
func amended(key domain.Key, details domain.Details, change func(*domain.Details, *origin)) (command domain.RegisterInstance, err error) {
	o, _ := originOf(details.Origin)
	before := o.Written
	change(&details, &o)
	if details.Origin, err = o.encode(); err != nil {
		return command, err
	}
	details.Status = ""
	if len(before)+len(o.Written) > 0 {
		details.Status = worst(o.Written)
	}
	return domain.RegisterInstance{Key: key, Details: details}, nil
}

// writeChecks gives a live instance checks that are judged elsewhere. An instance of another face gets their status.
func (f *face) writeChecks(q *request, key domain.Key, checks []writtenCheck) error {
	if len(checks) == 0 {
		return nil
	}
	if i, live := f.live(key); live {
		if _, born := originOf(i.Origin); !born {
			_, err := f.do(q, domain.ReportHealth{Key: key, Status: worst(checks), Source: domain.FromClient, Output: checks[0].Output})
			return err
		}
	}
	return f.amend(q, key, writing(checks))
}

// writing is the change that writes checks.
func writing(checks []writtenCheck) func(*domain.Details, *origin) {
	return func(_ *domain.Details, o *origin) {
		for _, c := range checks {
			o.write(c)
		}
	}
}

// removeWritten takes a check that was written from an instance.
func (f *face) removeWritten(q *request, key domain.Key, id string) error {
	return f.amend(q, key, func(_ *domain.Details, o *origin) {
		var left []writtenCheck
		for _, c := range o.Written {
			if c.ID != id {
				left = append(left, c)
			}
		}
		o.Written = left
	})
}

// written is the check in the form in which it is kept.
func (c *catalogCheck) written(without string) (w writtenCheck, err error) {
	switch c.Status {
	case passing, warning, critical, "":
	default:
		return w, failure{http.StatusBadRequest, "Invalid check status: '" + c.Status + "'"}
	}
	w = writtenCheck{
		ID: cmp.Or(c.CheckID, c.Name, without), Name: clip(c.Name, domain.MaxCheckName), Type: clip(c.Type, domain.MaxCheckName), Status: cmp.Or(c.Status, critical),
		Notes: clip(c.Notes, domain.MaxCheckNotes), Output: clip(c.Output, maxWrittenOutput),
	}
	if err := fits[sentDefinition](c.Definition); err != nil {
		return w, err
	}
	if d := null(c.Definition); len(d) > 0 && string(d) != "{}" {
		w.Definition = json.RawMessage(d)
	}
	return w, nil
}
