package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// clustering is how a node takes part in a cluster. The zero value: it takes part in none.
type clustering struct {
	node    string // the node's name
	members string // of the nodes that found the cluster, such as n1=10.0.0.1:7950,n2=…
	join    bool   // the node waits until it is added to a cluster
	listen  string // "": the node's address in members

	cert, key, ca string
}

func (c *clustering) flags(f *pflag.FlagSet) {
	f.StringVar(&c.node, "node", "", "name of this node in a cluster, which its certificate bears (docs/cluster.md)")
	f.StringVar(&c.members, "cluster", "", "the nodes that found a cluster, n1=host:port,n2=…; with --join this node alone")
	f.BoolVar(&c.join, "join", false, "wait until this node is added to a cluster, with rollcall cluster add")
	f.StringVar(&c.listen, "cluster-listen", "", "address and port to listen on for the other nodes; left out, this node's in --cluster")
	f.StringVar(&c.cert, "cluster-cert", "", "certificate that this node shows the others, in PEM; read again when it changes; without it, all nodes are on this machine")
	f.StringVar(&c.key, "cluster-key", "", "private key of that certificate, in PEM")
	f.StringVar(&c.ca, "cluster-ca", "", "authority that signs the nodes' certificates, and nobody else's, in PEM")
}

func (c *clustering) on() bool { return c.node != "" }

// config is the part of the store's configuration that the flags say.
func (c *clustering) config(logger *slog.Logger) (config raftstore.Config, err error) {
	if err := domain.ValidateMemberID(c.node); err != nil {
		return config, fmt.Errorf("node: %w", err)
	}
	config = raftstore.Config{Node: c.node, Join: c.join, Listen: c.listen}
	if c.members == "" {
		return config, errors.New("--node needs --cluster, which names the nodes and their addresses")
	}
	members, err := parseMembers(c.members)
	if err != nil {
		return config, err
	}
	own, ok := members.Find(c.node)
	switch {
	case !ok:
		return config, fmt.Errorf("--cluster must name this node, %s", c.node)
	case c.join && len(members) > 1:
		return config, errors.New("--join goes with a --cluster of this node alone: the others are known when it is added")
	}
	config.Address = own.Address
	if !c.join {
		config.Members = map[string]string{}
		for _, m := range members {
			config.Members[m.ID] = m.Address
		}
	}
	if c.cert == "" && c.key == "" && c.ca == "" {
		for _, address := range append([]string{c.listen}, addressesOf(members)...) {
			if address != "" && !web.LoopbackListen(address) {
				return config, fmt.Errorf("%s is no address of this machine alone: the nodes of a cluster need --cluster-cert, --cluster-key and --cluster-ca", address)
			}
		}
		return config, nil
	}
	if c.cert == "" || c.key == "" || c.ca == "" {
		return config, errors.New("--cluster-cert, --cluster-key and --cluster-ca go together")
	}
	files := web.TLS{Cert: c.cert, Key: c.key, ClientCA: c.ca, ClientAuth: web.ClientAuthRequired, Logger: logger}
	secure, err := files.Config()
	if err != nil {
		return config, fmt.Errorf("the cluster's certificates: %w", err)
	}
	config.TLS = func() *tls.Config {
		now, err := secure.GetConfigForClient(nil)
		if err != nil {
			panic(err) // what was read before stays in force
		}
		return &tls.Config{Certificates: now.Certificates, RootCAs: now.ClientCAs}
	}
	return config, nil
}

func addressesOf(members domain.Members) (all []string) {
	for _, m := range members {
		all = append(all, m.Address)
	}
	return all
}

func (s *settings) checkCluster() error {
	c := &s.cluster
	if !c.on() {
		if c.members != "" || c.join || c.listen != "" || c.cert != "" || c.key != "" || c.ca != "" {
			return usageError{errors.New("--cluster and its like need --node, the name of this node")}
		}
		return nil
	}
	if !embedded(s.store) {
		return usageError{errors.New("--node and --store do not go together: a cluster is kept in the data folders of its nodes")}
	}
	if _, err := c.config(slog.New(slog.DiscardHandler)); err != nil {
		return usageError{err}
	}
	return nil
}

// openCluster opens this node's part of the cluster, and waits until the node has the events of the cluster.
func openCluster(ctx context.Context, s settings, observed *metrics.Metrics, logger *slog.Logger, at func(what string, cause func() error)) (*backend, error) {
	config, err := s.cluster.config(logger)
	if err != nil {
		return nil, usageError{err}
	}
	if _, err := os.Stat(filepath.Join(s.data, raftFolder)); err != nil { // no member's folder: a store that is missing comes from the others
		if err := refuseTraces(s.data); err != nil {
			return nil, err
		}
	}
	config.Dir, config.Logger, config.Store = s.data, logger, embeddedOptions(s, observed, logger)
	config.Notes = func() ([]pebblestore.Note, error) { return notesOf(s.data, s.publish, logger) }
	store, err := raftstore.Open(config)
	if err != nil {
		return nil, err
	}
	at("the node waits for the others of the cluster", store.Err)
	if err := reachCluster(ctx, store, logger); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	observed.WatchCluster(func() metrics.Cluster { return clusterNumbers(store) })
	return &backend{
		Store: store, id: store.ID(), err: store.Err, diskBytes: store.DiskUsage, now: store.Now, cluster: store, embedded: store.Embedded,
		watch: func(ctx context.Context) error {
			return tick(ctx, time.Hour, retain(store.Trim, s.retention, logger))
		},
	}, nil
}

// raftFolder is the folder of a node's log in its data folder.
const raftFolder = "raft"

// reachCluster waits until the node has its store, and for a while until the store has all events that the cluster has
// answered for. Without a majority, the node serves what it has.
func reachCluster(ctx context.Context, store *raftstore.Store, logger *slog.Logger) error {
	if err := store.Ready(ctx); err != nil {
		return err
	}
	deadline := time.Now().Add(connectTimeout)
	for {
		_, err := store.Head(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, eventstore.ErrUnavailable):
			return err
		case time.Now().After(deadline):
			logger.Warn("the cluster has no leader: the node serves what it has, read-only, until there is one", "cause", err)
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// membership lets commands change the members of the cluster.
type membership struct{ *raftstore.Store }

func refusedMember(err error) error {
	if errors.Is(err, raftstore.ErrMembers) {
		return domain.MemberRefused{Why: err.Error()}
	}
	return err
}

// AddMember implements commands.Membership.
func (m membership) AddMember(ctx context.Context, one domain.Member) error {
	return refusedMember(m.Add(ctx, one.ID, one.Address))
}

// RemoveMember implements commands.Membership.
func (m membership) RemoveMember(ctx context.Context, id string) error {
	return refusedMember(m.Remove(ctx, id))
}

// TransferLead implements commands.Membership.
func (m membership) TransferLead(ctx context.Context, id string) error {
	return refusedMember(m.Transfer(ctx, id))
}

// Self implements commands.Membership.
func (m membership) Self() string { return m.Status().Node }

// Members implements commands.Membership.
func (m membership) Members() []domain.Member { return m.those(true) }

// Learners implements commands.Membership.
func (m membership) Learners() []domain.Member { return m.those(false) }

// those are the members that vote, or those that do not yet.
func (m membership) those(vote bool) (all []domain.Member) {
	for _, one := range m.Status().Members {
		if one.Voter == vote {
			all = append(all, domain.Member{ID: one.Name, Address: one.Address})
		}
	}
	return all
}

// clusterStatus is how the cluster is, in the form of the API.
func clusterStatus(store *raftstore.Store, now func() time.Time) wire.ClusterStatus {
	s := store.Status()
	status := wire.ClusterStatus{
		Node: s.Node, Role: wire.ClusterRole(s.Role), Term: s.Term, Leader: s.Leader, Applied: s.Applied, Lag: s.Committed - s.Applied,
		LogBytes: s.LogBytes, Rules: s.Rules, Members: []wire.MemberStatus{},
	}
	if s.Without > 0 {
		since := now().Add(-s.Without).UTC().Round(0)
		status.WithoutLeaderSince = &since
	}
	if s.Err != nil {
		status.Problem = s.Err.Error()
	}
	for _, m := range s.Members {
		one := wire.MemberStatus{Member: domain.Member{ID: m.Name, Address: m.Address}, Role: wire.Follower, Connected: m.Connected, Rules: m.Rules, Problem: m.Problem}
		switch {
		case m.Leader:
			one.Role = wire.Leader
		case !m.Voter:
			one.Role = wire.Learner
		}
		if m.Behind >= 0 {
			behind := uint64(m.Behind)
			one.Behind = &behind
		}
		status.Members = append(status.Members, one)
	}
	return status
}

// clusterNumbers are the numbers of the cluster for metrics.
func clusterNumbers(store *raftstore.Store) metrics.Cluster {
	s := store.Status()
	return metrics.Cluster{
		Leads: s.Role == raftstore.Leader, HasLeader: s.Leader != "", Term: s.Term, Applied: s.Applied, Committed: s.Committed, Members: len(s.Members),
		Proposals: s.Proposals.Count, ProposalTime: s.Proposals.Sum, Applies: s.Apply.Count, ApplyTime: s.Apply.Sum, Resent: s.Resent, Waiting: s.Waiting,
		Elections: s.Elections, Sent: s.Sent, Received: s.Received, LogBytes: s.LogBytes,
	}
}

// embeddedOptions are the options of the embedded store, of a node alone or of a cluster's.
func embeddedOptions(s settings, observed *metrics.Metrics, logger *slog.Logger) pebblestore.Options {
	return pebblestore.Options{
		Logger:   logger,
		OnCommit: func(c pebblestore.Commit) { observed.Committed(c.Events, c.Sync, c.Append) },
		MinFree:  s.minFree << 20,
		OnDamaged: func(d *pebblestore.Damaged) {
			observed.Damaged()
			logger.Error("event is damaged and passed over; restore a backup, or rollcall verify says more", "position", d.Position, "cause", d.Cause)
		},
	}
}
