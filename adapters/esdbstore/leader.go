package esdbstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// search looks for the leader. Every known node is asked again and again, side by side, so that a node that
// does not answer holds up no other; nodes that are named meanwhile are asked as well. The first that answers
// as the leader is it, but for nodes in doubt: those that led and stopped answering must find nobody else to
// claim the lead for a while, since a node that is cut off goes on believing that it leads. One that says that it
// does not lead, or is down, is in doubt no longer.
type search struct {
	store *Store

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	claims chan *link // a node that answered as the leader; whoever takes the link closes it

	mu    sync.Mutex
	doubt map[string]bool
	asked map[string]bool
}

// find makes a link to the leader the one that calls get. It returns when that is settled, or the context ends.
func (s *Store) find(ctx context.Context, hint string, doubt map[string]bool) {
	f := &search{store: s, doubt: doubt, claims: make(chan *link), asked: make(map[string]bool)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	defer f.tasks.Wait()
	defer f.cancel()
	if hint != "" {
		f.ask(hint)
	}
	for _, address := range s.addresses() {
		f.ask(address)
	}
	var second *link // claims the lead, but is in doubt
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			if second != nil {
				second.close()
			}
			return
		case <-settled:
			s.use(second)
			f.trial(second)
			return
		case l := <-f.claims:
			if !f.doubts(l.address) {
				if second != nil {
					second.close()
				}
				s.use(l)
				return
			}
			if second == nil {
				second, settled = l, time.After(s.opts.Timings.Doubt)
			} else {
				l.close()
			}
		}
	}
}

var errAnother = errors.New("another node leads")

// trial goes on asking the others while a node in doubt is used, until it carries out an append. If another
// claims the lead first, that one is looked for anew.
func (f *search) trial(l *link) {
	enough := time.After(f.store.opts.Timings.LeaderWait)
	select {
	case <-l.batch.proven:
	case <-l.serving.Done():
	case <-enough:
	case other := <-f.claims:
		other.close()
		f.store.giveUp(l, &answer{verdict: elsewhere, leader: other.address, err: errAnother})
	}
}

// doubts says whether a node's claim waits for another's. Where there is one node only, there is no other.
func (f *search) doubts(address string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doubt[address] && len(f.asked) > 1
}

// ask begins to ask a node, once for each search.
func (f *search) ask(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked[address] || f.ctx.Err() != nil {
		return
	}
	f.asked[address] = true
	f.tasks.Go(func() { f.follow(address) })
}

// maxUnanswered is how many probes may wait for one node's answer.
const maxUnanswered = 8

// follow asks one node until it claims the lead or the search ends. A probe may be lost (a node that is about
// to lead loses calls) or late, so the next one does not wait for it.
func (f *search) follow(address string) {
	l, err := dial(address, f.store.target)
	if err != nil {
		f.store.note(judge(err, nil))
		return
	}
	won := make(chan struct{}, 1)
	var probes sync.WaitGroup
	ctx, cancel := context.WithCancel(f.ctx)
	claimed := false
	defer func() {
		cancel()
		probes.Wait()
		if !claimed {
			l.close()
		}
	}()
	if f.store.target.cluster {
		probes.Go(func() { f.gossip(ctx, l) })
	}
	slots := make(chan struct{}, maxUnanswered)
	timings := f.store.opts.Timings
	ticker := time.NewTicker(timings.Probe)
	defer ticker.Stop()
	for {
		select {
		case slots <- struct{}{}:
			probes.Go(func() {
				defer func() { <-slots }()
				ctx, cancel := context.WithTimeout(ctx, timings.Attempt)
				defer cancel()
				if f.heard(address, l.probe(ctx)) {
					select {
					case won <- struct{}{}:
					default:
					}
				}
			})
		default:
		}
		select {
		case <-won:
			select {
			case f.claims <- l:
				claimed = true
			case <-ctx.Done():
			}
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// heard takes in what a probe brought, and says whether the node leads.
func (f *search) heard(address string, err error) bool {
	if err == nil {
		return true
	}
	if f.ctx.Err() != nil {
		return false // it was called off
	}
	a := judge(err, nil)
	f.store.note(a)
	if !a.silent() {
		f.mu.Lock()
		delete(f.doubt, address)
		f.mu.Unlock()
	}
	if a.leader != "" {
		f.ask(a.leader)
	}
	return false
}

// gossip learns of further nodes. What a node says of the others' states may be old; only who there is counts.
func (f *search) gossip(ctx context.Context, l *link) {
	for {
		timeout, cancel := context.WithTimeout(ctx, f.store.opts.Timings.Attempt)
		addresses, err := l.members(timeout)
		cancel()
		if err == nil {
			f.store.learn(addresses)
			for _, address := range addresses {
				f.ask(address)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(4 * f.store.opts.Timings.Probe):
		}
	}
}

// addresses are those of the nodes that are known.
func (s *Store) addresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.known))
}

// maxKnown bounds how many nodes are remembered; a cluster has up to nine and its replicas.
const maxKnown = 64

func (s *Store) learn(addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, address := range addresses {
		if len(s.known) < maxKnown {
			s.known[address] = true
		}
	}
}

// learnEvery is after how many pings the leader is asked for the cluster's nodes.
const learnEvery = 10

// learnFrom learns who belongs to the cluster while the leader is there to say so.
func (s *Store) learnFrom(l *link) {
	ctx, cancel := context.WithTimeout(l.serving, s.opts.Timings.Attempt)
	defer cancel()
	if addresses, err := l.members(ctx); err == nil { // else it is asked again
		s.learn(addresses)
	}
}

// ping asks the leader every second whether it still leads and answers, and gives it up when not: gRPC's own
// keep-alive needs ten seconds and more.
func (s *Store) ping(l *link) {
	ticker := time.NewTicker(s.opts.Timings.Ping)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if s.target.cluster && n%learnEvery == 0 {
			s.tasks.Go(func() { s.learnFrom(l) })
		}
		select {
		case <-l.serving.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(l.serving, s.opts.Timings.Attempt)
		err := l.probe(ctx)
		cancel()
		if err == nil || l.serving.Err() != nil {
			continue
		}
		if a := judge(err, nil); a.verdict == elsewhere {
			if errors.Is(err, context.DeadlineExceeded) {
				a = &answer{verdict: elsewhere, err: errNoAnswer}
			}
			s.giveUp(l, a)
			return
		}
	}
}
