package simulation

import (
	"errors"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// The leases of processes.
const (
	minTTL = time.Second
	maxTTL = 15 * time.Second
)

// process is an instance of a service: what registers, renews, and one day is silent.
type process struct {
	world *world
	key   domain.Key
	name  string
	named bool // it names itself as the owner
	ttl   time.Duration
	home  int // the node that it asks first

	batched bool // an agent sends its heartbeats, with others' in one batch

	epoch    uint64    // that it was given; 0: none yet, or over
	had      uint64    // the newest that it was given
	revision uint64    // that came with it
	cut      time.Time // nothing that it sends arrives until then
	dies     time.Time
	left     bool // it said good-bye, or gave up
	tried    time.Time
	said     domain.Status

	check    time.Duration // ttl of the check that it reports; 0: it has none
	reported time.Time
	mute     time.Time // it reports no check until then
	lapses   bool      // its lease lapses to critical
}

// worker is the id of the check of processes. removeAfter is how long a lease that lapsed to critical stays.
const (
	worker      = "worker"
	removeAfter = 10 * time.Second
)

// live is what the process does in a tick.
func (p *process) live() {
	w := p.world
	switch {
	case p.left || time.Now().Before(p.cut):
	case time.Now().After(p.dies):
		p.end()
	case p.epoch == 0:
		if time.Since(p.tried) > time.Second {
			p.register()
		}
	case p.check > 0 && time.Since(p.reported) > p.check/3 && time.Now().After(p.mute):
		p.report()
	case time.Since(p.tried) > p.ttl/3 && p.batched:
		p.tried = time.Now()
		w.due = append(w.due, p)
	case time.Since(p.tried) > p.ttl/3:
		p.renew()
	case w.chance(100):
		p.say()
	case w.chance(200):
		p.register() // with other details, or the same
	}
}

// end is what a process does whose time has come: most say good-bye, some crash, and some come back from a pause
// when another has taken their place.
func (p *process) end() {
	w := p.world
	switch {
	case p.epoch == 0:
		p.left = true
	case w.chance(300):
		p.renew() // it was only paused
	case w.chance(40):
		p.left = true
		p.ask(domain.DeregisterInstance{Key: p.key, Epoch: p.epoch, Reason: "shutting down"})
	case w.chance(150):
		p.left = true
	}
}

// rest has the process be silent from now on.
func (p *process) rest() { p.left = true }

func (p *process) register() {
	details := domain.Details{Address: "10.0.0.5", Weight: uint16(p.world.rng.IntN(2)), TTL: domain.Duration(p.ttl), Zone: p.name}
	if p.world.chance(2) {
		details.Status = pick(p.world, []domain.Status{domain.Starting, domain.Passing, domain.Critical})
	}
	if p.check > 0 {
		details.Checks = []domain.Check{{ID: worker, Kind: domain.CheckTTL, TTL: domain.Duration(p.check)}}
	}
	if p.lapses {
		details.OnLapse, details.RemoveAfter = domain.LapseCritical, domain.Duration(removeAfter)
	}
	command := domain.RegisterInstance{Key: p.key, Details: details}
	if p.named {
		command.Owner = p.name
	}
	a := p.ask(command)
	switch {
	case a == nil || !a.over:
	case a.result.Err == nil:
		p.epoch, p.had, p.revision = a.result.Epoch, a.result.Epoch, a.result.Revision
	case refused(a.result.Err):
		p.left = true
	}
}

func (p *process) heartbeat() domain.SendHeartbeat {
	beat := domain.SendHeartbeat{Key: p.key, Epoch: p.epoch}
	if p.named {
		beat.Owner = p.name
	}
	return beat
}

func (p *process) renew() { p.heard(p.ask(p.heartbeat())) }

// heard is what a process makes of the answer to its heartbeat.
func (p *process) heard(a *answer) {
	if a != nil && a.over && refused(a.result.Err) {
		p.epoch = 0 // it registers again, or finds out that another has
		if errors.As(a.result.Err, new(domain.StaleEpoch)) || errors.As(a.result.Err, new(domain.OtherOwner)) {
			p.left = true
		}
	}
}

func (p *process) say() {
	p.said = pick(p.world, []domain.Status{domain.Passing, domain.Warning, domain.Critical})
	tried := p.tried // a report renews no lease: the next heartbeat is due as before
	p.ask(domain.ReportHealth{Key: p.key, Epoch: p.epoch, Status: p.said, Source: domain.FromClient, Output: "self"})
	p.tried = tried
}

// report reports the process's check. Now and then the process forgets to for some time.
func (p *process) report() {
	w := p.world
	status := domain.Passing
	if w.chance(10) {
		status = pick(w, []domain.Status{domain.Warning, domain.Critical})
	}
	if w.chance(20) {
		p.mute = time.Now().Add(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
	}
	p.reported = time.Now()
	tried := p.tried // a report renews no lease
	command := domain.ReportCheck{Key: p.key, Epoch: p.epoch, Check: worker, Status: status}
	if p.named {
		command.Owner = p.name
	}
	p.heard(p.ask(command))
	p.tried = tried
}

// ask tries one node after the other, as clients do, until one answers.
func (p *process) ask(command domain.Command) (last *answer) {
	w := p.world
	p.tried = time.Now()
	for i := range w.nodes {
		n := w.nodes[(p.home+i)%len(w.nodes)]
		if !n.works() {
			continue
		}
		last = w.send(p, p.name, n, commands.Request{Command: command})
		if !last.over || last.result.Err == nil || refused(last.result.Err) {
			return last
		}
	}
	return last
}

// namedTwice says whether a heartbeat was refused because its batch names the instance twice.
func namedTwice(err error) bool { return errors.As(err, new(domain.InvalidField)) }

// refused says whether the registry has decided against a command: then it changed nothing.
func refused(err error) bool {
	var (
		field    domain.InvalidField
		check    domain.UnknownCheck
		unknown  domain.UnknownInstance
		lapsed   domain.LeaseLapsed
		stale    domain.StaleEpoch
		owner    domain.OtherOwner
		already  domain.AlreadyLive
		mismatch domain.RevisionMismatch
		nothing  domain.NothingToMatch
	)
	return errors.As(err, &field) || errors.As(err, &check) || errors.As(err, &unknown) || errors.As(err, &lapsed) || errors.As(err, &stale) || errors.As(err, &owner) ||
		errors.As(err, &already) || errors.As(err, &mismatch) || errors.As(err, &nothing)
}
