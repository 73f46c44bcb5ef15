package queries

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Node is what a process says of itself. Functions may be nil.
type Node struct {
	Version   string
	StoreKind string // embedded or esdb
	Started   time.Time
	Ready     func() error  // why it should get no requests; nil: it should
	StoreErr  func() error  // why the event store takes no appends; nil: it takes them
	Bytes     func() uint64 // of the event store's files on this machine
	Disk      func() (free, total uint64, err error)
	Probes    func() *wire.ProbeStatus  // nil: the node does not probe
	Cluster   func() wire.ClusterStatus // nil: the node is in no cluster
}

// statusWait is how long the event store may take to say where it is.
const statusWait = time.Second

// Status says how this node is. It answers when the event store does not.
func (s *Service) Status(ctx context.Context) wire.Status {
	now := s.Live.Now()
	status := wire.Status{
		Version: s.Node.Version, StartedAt: s.Node.Started.UTC().Round(0), Uptime: domain.Duration(now.Sub(s.Node.Started).Round(time.Millisecond)), Ready: true,
		Listening: s.listeningStatus(now),
	}
	if s.Node.Ready != nil {
		if err := s.Node.Ready(); err != nil {
			status.Ready, status.NotReady = false, err.Error()
		}
	}
	if s.Node.Disk != nil {
		if free, total, err := s.Node.Disk(); err == nil {
			status.Disk = &wire.DiskStatus{Free: free, Total: total}
		}
	}
	if s.Node.Probes != nil {
		status.Probes = s.Node.Probes()
		if p := status.Probes; p != nil && p.HeldSince != nil {
			since := s.recorded(*p.HeldSince)
			p.HeldSince = &since
		}
	}
	if s.Node.Cluster != nil {
		cluster := s.Node.Cluster()
		status.Cluster = &cluster
	}
	var behind func(eventstore.Position) *uint64
	status.Store, behind = s.storeStatus(ctx)
	lag, stale := s.Lag()
	at := s.Live.Position()
	status.Catalog = wire.CatalogStatus{
		Position: s.At(at), Behind: behind(at), Lag: domain.Duration(lag.Round(time.Millisecond)), Stale: stale,
		Services: len(s.Live.Catalog().Services("")), Instances: s.Live.Catalog().Count(""), Nodes: s.Live.Catalog().Count(domain.RegistryNamespace), Skipped: s.Live.Skipped(),
	}
	at = s.History.Position()
	status.History = wire.HistoryStatus{Position: s.At(at), Behind: behind(at), Entries: s.History.Leaves()}
	all, own := s.Live.Leases().Count(""), s.Live.Leases().Count(domain.RegistryNamespace)
	status.Leases = wire.LeaseStatus{Count: all.Leases - own.Leases, Overdue: all.Overdue - own.Overdue, ExpiryHeld: s.expiryHeld("")}
	return status
}

// storeStatus is how the event store is; behind is by how many positions another is behind it, nil if that is not known.
func (s *Service) storeStatus(ctx context.Context) (status wire.StoreStatus, behind func(eventstore.Position) *uint64) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	head, err := s.Store.Head(ctx)
	known := err == nil
	if !known {
		head = s.Live.Position()
	}
	if s.Node.StoreErr != nil {
		if refused := s.Node.StoreErr(); refused != nil {
			err = refused
		}
	}
	status = wire.StoreStatus{Kind: s.Node.StoreKind, ID: s.StoreID, Timeline: s.Timelines().Name, Position: s.At(head)}
	if err != nil {
		status.Problem = err.Error()
	}
	if s.Node.Bytes != nil {
		bytes := s.Node.Bytes()
		status.Bytes = &bytes
	}
	return status, func(at eventstore.Position) *uint64 {
		if !known {
			return nil
		}
		n := uint64(max(head, at) - at)
		return &n
	}
}

func (s *Service) listeningStatus(now time.Time) wire.ListeningStatus {
	status := wire.ListeningStatus{Able: true, ByCause: map[domain.Deafness]domain.Duration{}}
	if s.Listening == nil {
		return status
	}
	if since, cause, deaf := s.Listening.DeafSince(); deaf {
		since = s.recorded(since)
		status.Able, status.Since, status.Cause = false, &since, cause
	}
	for cause, d := range s.Listening.Total(now) {
		status.ByCause[cause] = domain.Duration(d.Round(time.Millisecond))
		status.Total += status.ByCause[cause]
	}
	return status
}
