package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Cluster has the numbers of this node's part in a cluster. Counters count from the start of the process.
type Cluster struct {
	Leads, HasLeader                                      bool
	Term, Applied, Committed                              uint64
	Members, Waiting                                      int
	Proposals, Applies, Resent, Elections, Sent, Received uint64
	ProposalTime, ApplyTime                               time.Duration
	LogBytes                                              uint64
}

// WatchCluster adds the numbers of a cluster.
func (m *Metrics) WatchCluster(numbers func() Cluster) { m.registry.MustRegister(cluster{numbers}) }

type cluster struct{ numbers func() Cluster }

var (
	clusterLeads     = prometheus.NewDesc("rollcall_cluster_leads", "1 if this node leads the cluster.", nil, nil)
	clusterHasLeader = prometheus.NewDesc("rollcall_cluster_has_leader", "1 if this node knows of a leader.", nil, nil)
	clusterTerm      = prometheus.NewDesc("rollcall_cluster_term", "The term, which counts elections.", nil, nil)
	clusterApplied   = prometheus.NewDesc("rollcall_cluster_applied_index", "Number of the newest entry of the log that is in this node's store.", nil, nil)
	clusterCommitted = prometheus.NewDesc("rollcall_cluster_committed_index", "Number of the newest entry that this node knows to be in the log of a majority.", nil, nil)
	clusterMembers   = prometheus.NewDesc("rollcall_cluster_members", "Nodes of the cluster.", nil, nil)
	clusterWaiting   = prometheus.NewDesc("rollcall_cluster_waiting_appends", "Appends of this node that wait for a majority.", nil, nil)
	clusterProposals = prometheus.NewDesc("rollcall_cluster_commit_seconds", "Time from an append of this node until it was in the log of a majority and applied here.", nil, nil)
	clusterApplies   = prometheus.NewDesc("rollcall_cluster_apply_seconds", "Time that a block of the log took to be applied to this node's store.", nil, nil)
	clusterResent    = prometheus.NewDesc("rollcall_cluster_resent_blocks_total", "Blocks of this node that were sent to a leader again.", nil, nil)
	clusterElections = prometheus.NewDesc("rollcall_cluster_leader_changes_total", "Leaders that this node has seen take over.", nil, nil)
	clusterTransfers = prometheus.NewDesc("rollcall_cluster_checkpoints_total", "Copies of the whole store that this node sent to another node or received from one.", []string{"direction"}, nil)
	clusterLogBytes  = prometheus.NewDesc("rollcall_cluster_log_bytes", "Bytes of the entries that this node's log keeps.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c cluster) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		clusterLeads, clusterHasLeader, clusterTerm, clusterApplied, clusterCommitted, clusterMembers, clusterWaiting, clusterProposals, clusterApplies,
		clusterResent, clusterElections, clusterTransfers, clusterLogBytes,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c cluster) Collect(to chan<- prometheus.Metric) {
	n := c.numbers()
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	yes := map[bool]float64{true: 1}
	gauge(clusterLeads, yes[n.Leads])
	gauge(clusterHasLeader, yes[n.HasLeader])
	gauge(clusterTerm, float64(n.Term))
	gauge(clusterApplied, float64(n.Applied))
	gauge(clusterCommitted, float64(n.Committed))
	gauge(clusterMembers, float64(n.Members))
	gauge(clusterWaiting, float64(n.Waiting))
	gauge(clusterLogBytes, float64(n.LogBytes))
	to <- prometheus.MustNewConstSummary(clusterProposals, n.Proposals, n.ProposalTime.Seconds(), nil)
	to <- prometheus.MustNewConstSummary(clusterApplies, n.Applies, n.ApplyTime.Seconds(), nil)
	count(clusterResent, n.Resent)
	count(clusterElections, n.Elections)
	count(clusterTransfers, n.Sent, "sent")
	count(clusterTransfers, n.Received, "received")
}
