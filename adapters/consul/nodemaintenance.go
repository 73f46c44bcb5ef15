package consul

import (
	"net/http"
	"strings"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// nodeReason is the beginning of the reason of a maintenance that an instance has because its node is in maintenance.
const nodeReason = "consul: the node is in maintenance"

// withNode says whether an instance is in maintenance because its node is.
func withNode(i *wire.Instance) bool {
	return i.Traffic == domain.Maintenance && i.Maintenance != nil && strings.HasPrefix(i.Maintenance.Reason, nodeReason)
}

// followNode gives an instance the maintenance of its node, or ends it with the node's: so other faces know of it, too. The
// right to put a node into maintenance is enough for the instances at it.
func (f *face) followNode(q *request, key domain.Key, nodeName string) error {
	i, live := f.live(key)
	if !live {
		return nil
	}
	var decided *domain.InMaintenance
	if n, known := f.live(nodeKey(key.Namespace, nodeName)); known && n.Traffic == domain.Maintenance {
		decided = n.Maintenance
	}
	switch {
	case decided != nil && i.Traffic == domain.Serving:
		return f.follow(q, key, domain.Maintenance, reasonOf(decided.By, decided.Reason))
	case decided == nil && withNode(&i):
		return f.follow(q, key, domain.Serving, "consul: the maintenance of the node is over")
	}
	return nil
}

// reasonOf is the reason of an instance's maintenance with its node.
func reasonOf(by, reason string) string {
	text := nodeReason + " (" + by + ")"
	if reason != "" {
		text += ": " + reason
	}
	return clip(text, domain.MaxReason)
}

func (f *face) follow(q *request, key domain.Key, traffic domain.Traffic, reason string) error {
	err := f.Commands.Do(q.Request().Context(), q.caller(), commands.Request{Command: domain.ChangeTraffic{Key: key, Traffic: traffic, Reason: reason}}).Err
	if isGone(err) {
		return nil
	}
	return err
}

// nodeMaintenance puts the caller's node into maintenance, with all instances at it, or ends that.
func (f *face) nodeMaintenance(q *request) error {
	traffic, err := q.enabled()
	if err != nil {
		return err
	}
	n, reason := nodeOf(q), clip(q.query.Get("reason"), domain.MaxReason)
	key := nodeKey(q.namespace, n.name)
	if err := q.who.May(domain.ChangeInstanceTraffic, key); err != nil { // the caller's own node would not do: others may be at it
		return err
	}
	if traffic == domain.Maintenance { // before the node: a policy may keep an instance in traffic, and then nothing changes
		if err := f.empty(q, n, reasonOf(q.who.Name, reason)); err != nil {
			return err
		}
	}
	err = f.again(q, func() error {
		if traffic == domain.Maintenance {
			if _, err := f.ensureNode(q, n); err != nil {
				return err
			}
		}
		return f.doToNode(q, domain.ChangeTraffic{Key: key, Traffic: traffic, Reason: reason})
	})
	if err != nil && !(isGone(err) && traffic == domain.Serving) { // a node that is not known is in no maintenance
		return err
	}
	for _, s := range f.everyone(q.namespace) { // those that came meanwhile, too
		if s.entry.Node.Node == n.name {
			if err := f.followNode(q, s.key, n.name); err != nil {
				return err
			}
		}
	}
	return done(q)
}

// doToNode carries out a command for an instance that stands for a node. Policies keep instances in traffic, and a node takes none.
func (f *face) doToNode(q *request, command domain.Command) error {
	allowed, err := q.who.Command(command)
	if err != nil {
		return err
	}
	caller := q.caller()
	caller.Registry = true
	return f.Commands.Do(q.Request().Context(), caller, commands.Request{Command: allowed}).Err
}

// empty puts all instances at a node into maintenance, or none of them.
func (f *face) empty(q *request, n node, reason string) error {
	var emptied []domain.Key
	for _, s := range f.everyone(q.namespace) {
		i, live := f.live(s.key)
		if s.entry.Node.Node != n.name || !live || i.Traffic != domain.Serving {
			continue
		}
		err := f.follow(q, s.key, domain.Maintenance, reason)
		if err == nil {
			emptied = append(emptied, s.key)
			continue
		}
		for _, key := range emptied {
			if undone := f.follow(q, key, domain.Serving, "consul: the node is not put into maintenance after all"); undone != nil {
				f.Logger.Error("an instance stays in maintenance, though its node is not", "instance", key.String(), "cause", undone)
			}
		}
		if !q.knows(s.key) {
			return failure{http.StatusConflict, "an instance at the node must stay in traffic"}
		}
		return err
	}
	return nil
}
