package simulation

import (
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// fits says whether an instance is the registration that the command is for. A command that names none fits any.
func (a *answer) fits(i domain.Instance) bool {
	var epoch uint64
	var owner string
	switch c := a.command.(type) {
	case domain.RegisterInstance:
		epoch = c.Epoch
	case domain.SendHeartbeat:
		epoch, owner = c.Epoch, c.Owner
	case domain.ReportHealth:
		epoch, owner = c.Epoch, c.Owner
	case domain.ChangeTraffic:
		epoch, owner = c.Epoch, c.Owner
	case domain.ReportCheck:
		epoch, owner = c.Epoch, c.Owner
	case domain.DeregisterInstance:
		epoch, owner = c.Epoch, c.Owner
	}
	switch {
	case epoch != 0 && (!i.Live() || i.Epoch != epoch):
		return false
	case owner != "" && (!i.Live() || i.Owner != owner):
		return false
	}
	return a.ifMatch == nil || i.Live() && i.Revision() == *a.ifMatch
}

// meddle has a process that is over send a command that was meant for its own registration, as a late shutdown does.
// It must be refused and change nothing, unless the registration is live after all.
func (w *world) meddle() {
	var over []*process
	for _, p := range w.processes {
		if p.had != 0 && p.left {
			over = append(over, p)
		}
	}
	n := pick(w, w.nodes)
	if len(over) == 0 || !n.works() {
		return
	}
	p := pick(w, over)
	request, what := w.late(p)
	now := w.state(p.key)
	a := w.send(p, p.name, n, request)
	if a.fits(now) || a.ifMatch != nil && now.Events <= *a.ifMatch+1 { // what is under way may bring it to that revision
		return
	}
	switch {
	case a.over && a.result.Err == nil:
		w.t.Errorf("%s %+v was done, though the instance was %+v", a.request, a.command, now)
	case a.over && refused(a.result.Err):
		w.see(what + " is refused")
	}
}

// late is a command for a registration that is over.
func (w *world) late(p *process) (r commands.Request, what string) {
	owner := ""
	if p.named {
		owner = p.name
	}
	switch kind := w.rng.IntN(8); {
	case kind == 0 && owner != "":
		return commands.Request{Command: domain.DeregisterInstance{Key: p.key, Owner: owner, Reason: "late"}}, "a late deregistration by its owner"
	case kind == 1:
		revision := p.revision
		return commands.Request{Command: domain.DeregisterInstance{Key: p.key, Reason: "late"}, IfMatch: &revision}, "a late deregistration by its revision"
	case kind == 2:
		return commands.Request{Command: domain.ReportHealth{Key: p.key, Epoch: p.had, Owner: owner, Status: domain.Critical, Source: domain.FromClient, Output: "late"}}, "a late report of health"
	case kind == 3:
		return commands.Request{Command: domain.ChangeTraffic{Key: p.key, Epoch: p.had, Owner: owner, Traffic: domain.Draining, Reason: "late"}}, "a late drain"
	case kind == 4:
		return commands.Request{Command: domain.SendHeartbeat{Key: p.key, Epoch: p.had, Owner: owner}}, "a late heartbeat"
	case kind == 5:
		details := domain.Details{Address: "10.0.0.6", TTL: domain.Duration(p.ttl), Zone: p.name}
		return commands.Request{Command: domain.RegisterInstance{Key: p.key, Owner: owner, Epoch: p.had, Details: details}}, "a late update"
	}
	return commands.Request{Command: domain.DeregisterInstance{Key: p.key, Epoch: p.had, Owner: owner, Reason: "late"}}, "a late deregistration by its epoch"
}
