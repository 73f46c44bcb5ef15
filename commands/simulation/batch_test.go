package simulation

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// beatAll sends the heartbeats that are due in batches, as the agents of hosts do: one for each node, to the next node
// what that one could not answer.
func (w *world) beatAll() {
	due := w.due
	w.due = nil
	for i := range w.nodes {
		var left []*process
		for home := range w.nodes {
			n := w.nodes[(home+i)%len(w.nodes)]
			var batch []*process
			named := map[domain.Key]bool{}
			for _, p := range due {
				switch {
				case p.home != home:
				case !n.works() || named[p.key] && !w.chance(10): // a key that is named twice is refused
					left = append(left, p)
				default:
					named[p.key] = true
					batch = append(batch, p)
				}
			}
			left = append(left, w.sendBatch(n, batch)...)
		}
		due = left
	}
}

// sendBatch sends the heartbeats of processes to a node. It gives those that are to ask another.
func (w *world) sendBatch(n *node, batch []*process) (left []*process) {
	if len(batch) == 0 {
		return nil
	}
	answers := make([]*answer, len(batch))
	keys := make([]domain.Key, len(batch))
	preconditions := make([]commands.Precondition, len(batch))
	for i, p := range batch {
		beat := p.heartbeat()
		keys[i], preconditions[i] = p.key, commands.Precondition{Epoch: beat.Epoch, Owner: beat.Owner}
		answers[i] = &answer{request: fmt.Sprint("r", len(w.answers)), at: n, by: p, command: beat, sent: time.Now(), reply: make(chan reply, 1)}
		w.answers = append(w.answers, answers[i])
	}
	service := n.service
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		defer cancel()
		results := service.Heartbeats(commands.Caller{Actor: "agent", Via: "http"}).SendAll(ctx, keys, preconditions, nil)
		for i, a := range answers {
			a.reply <- reply{results[i], time.Now(), true}
		}
	}()
	synctest.Wait()
	if len(batch) > 1 {
		w.see("several heartbeats in a batch")
	}
	for i, a := range answers {
		w.take(a)
		w.tell("an agent sends %s %+v to %s: %+v", a.request, a.command, n.name, a.result)
		switch {
		case a.over && namedTwice(a.result.Err):
			w.see("a key that is named twice in a batch is refused")
		case a.over && a.result.Err != nil && !refused(a.result.Err):
			left = append(left, batch[i])
		default:
			batch[i].heard(a)
		}
	}
	return left
}

// carryOut carries out a request. A plain registration may come in a round, as the lane's do.
func carryOut(ctx context.Context, service *commands.Service, caller commands.Caller, request commands.Request, inRound bool) commands.Result {
	if register, registers := request.Command.(domain.RegisterInstance); registers && inRound && request.IfMatch == nil && !request.IfLive && request.Once == "" {
		if tried := service.TryRegisterMany(ctx, []commands.CallersRegistration{{By: caller, RegisterInstance: register}}, nil)[0]; tried.Known {
			return tried.Result
		}
	}
	return service.Do(ctx, caller, request)
}
