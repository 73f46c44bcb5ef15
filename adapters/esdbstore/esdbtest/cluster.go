package esdbtest

import (
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
)

// State is what a node is.
type State int

// The states.
const (
	Electing  State = iota // it knows no leader: "Server Is Not Ready"
	Follower               // it answers reads, forwards appends, and says NotLeader where the leader is required
	PreLeader              // it was elected and does not lead yet: calls are lost
	Leader
	CutOff // it believes that it leads, and reaches no other node: it answers reads, and appends time out
	Frozen // its process is stopped
	Dead   // its process is gone
)

func (s State) gossiped() gossip.MemberInfo_VNodeState {
	return map[State]gossip.MemberInfo_VNodeState{
		Electing: gossip.MemberInfo_Unknown, Follower: gossip.MemberInfo_Follower, PreLeader: gossip.MemberInfo_PreLeader, Leader: gossip.MemberInfo_Leader, CutOff: gossip.MemberInfo_Leader,
		Frozen: gossip.MemberInfo_Unknown, Dead: gossip.MemberInfo_Shutdown,
	}[s]
}

// member is a node in another's eyes.
type member struct {
	address string
	state   State
	alive   bool
}

// Election is how long a cluster takes to have a new leader. A zero Election has none: the test says who leads.
type Election struct {
	Killed    time.Duration // until the others notice that the leader was killed: they follow it, and gossip that it lives
	Frozen    time.Duration // until they notice that it does not answer
	Electing  time.Duration // without a leader
	PreLeader time.Duration // until the elected one leads
	Forward   time.Duration // how long a follower waits for the leader that it forwarded to
}

// Measured is what was measured with real nodes: a new leader after about 1.6 s and 7 s.
var Measured = Election{Killed: 400 * time.Millisecond, Frozen: 6 * time.Second, Electing: 700 * time.Millisecond, PreLeader: 500 * time.Millisecond, Forward: 5 * time.Second}

// Scaled is an election whose times are multiplied.
func (e Election) Scaled(by float64) Election {
	for _, d := range []*time.Duration{&e.Killed, &e.Frozen, &e.Electing, &e.PreLeader, &e.Forward} {
		*d = time.Duration(float64(*d) * by)
	}
	return e
}

// Cluster is nodes that share a log, one of which leads.
type Cluster struct {
	Nodes []*Server

	ledger   *ledger
	election Election

	mu     sync.Mutex
	round  int       // grows with every change of the leader, so that an election that is overtaken ends
	led    time.Time // when the leader began to lead
	leader *Server   // nil: none
}

// StartCluster runs nodes, the first of which leads.
func StartCluster(network Network, nodes int, election Election) (*Cluster, error) {
	c := &Cluster{ledger: newLedger(), election: election}
	for range nodes {
		s := newServer(c, network)
		c.Nodes = append(c.Nodes, s)
		if err := s.listen(network.Any()); err != nil {
			c.Stop()
			return nil, err
		}
	}
	c.Lead(c.Nodes[0])
	return c, nil
}

// Stop ends all nodes.
func (c *Cluster) Stop() {
	c.mu.Lock()
	c.round++ // ends an election
	c.mu.Unlock()
	for _, s := range c.Nodes {
		if s.serving != nil {
			s.Stop()
		}
	}
}

// ConnectionString names all nodes.
func (c *Cluster) ConnectionString() string {
	var addresses []string
	for _, s := range c.Nodes {
		addresses = append(addresses, s.Address())
	}
	return "esdb://" + strings.Join(addresses, ",") + "?tls=false"
}

// Leader is the node that leads, and since when; nil: there is none.
func (c *Cluster) Leader() (*Server, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, c.led
}

// Lead makes a node the leader and has all who live follow it.
func (c *Cluster) Lead(s *Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead(s)
}

func (c *Cluster) lead(s *Server) {
	c.round++
	c.leader, c.led = s, time.Now()
	for _, n := range c.Nodes {
		if n.state < CutOff {
			n.become(Follower, s.address)
		}
	}
	s.become(Leader, s.address)
	c.gossip()
}

// become changes a node's state. The cluster's mutex is held.
func (s *Server) become(state State, leader string) {
	s.state, s.leader = state, leader
	close(s.changed)
	s.changed = make(chan struct{})
}

// gossip gives all who live the true view. The cluster's mutex is held.
func (c *Cluster) gossip() {
	var view []member
	for _, n := range c.Nodes {
		view = append(view, member{n.address, n.state, n.state < CutOff})
	}
	for _, n := range c.Nodes {
		if n.state < CutOff {
			n.view = view
		}
	}
}

// down takes a node out. If it led, the others go on believing in it until they notice.
func (c *Cluster) down(s *Server, state State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.become(state, s.leader)
	if c.leader != s {
		return // the others may gossip of it for a while
	}
	c.leader = nil
	c.round++
	notice := c.election.Killed
	if state != Dead {
		notice = c.election.Frozen
	}
	if c.election != (Election{}) {
		c.after(notice, func() { c.Elect(nil) })
	}
}

// up brings a node back. It follows the leader, or takes the lead again of a cluster of one.
func (c *Cluster) up(s *Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.Nodes) == 1:
		c.lead(s)
	case c.leader != nil:
		s.become(Follower, c.leader.address)
		c.gossip()
	default:
		s.become(Electing, "")
		if c.election != (Election{}) {
			c.round++
			c.after(c.election.Electing, func() { c.Elect(nil) })
		}
	}
}

// Elect begins an election among those who live; chosen wins, nil: any. There must be a majority.
func (c *Cluster) Elect(chosen *Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	c.leader = nil
	living := 0
	for _, n := range c.Nodes {
		if n.state < CutOff {
			n.become(Electing, "")
			living++
			if chosen == nil {
				chosen = n
			}
		}
	}
	c.gossip()
	if 2*living <= len(c.Nodes) {
		return // until someone comes up
	}
	c.after(c.election.Electing, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		chosen.become(PreLeader, chosen.address)
		c.gossip()
		c.after(c.election.PreLeader, func() { c.Lead(chosen) })
	})
}

// after does the next step of an election, unless it was overtaken. The cluster's mutex is held.
func (c *Cluster) after(d time.Duration, step func()) {
	round := c.round
	time.AfterFunc(d, func() {
		c.mu.Lock()
		overtaken := c.round != round
		c.mu.Unlock()
		if !overtaken {
			step()
		}
	})
}
