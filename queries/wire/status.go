package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Status is how a node of the registry is.
type Status struct {
	Version   string          `json:"version"`
	StartedAt time.Time       `json:"started_at"`
	Uptime    domain.Duration `json:"uptime"`
	Ready     bool            `json:"ready"`               // it should get requests
	NotReady  string          `json:"not_ready,omitempty"` // why it should not
	Store     StoreStatus     `json:"store"`
	Disk      *DiskStatus     `json:"disk,omitempty"` // absent: the file system does not say
	Catalog   CatalogStatus   `json:"catalog"`
	History   HistoryStatus   `json:"history"`
	Leases    LeaseStatus     `json:"leases"`
	Listening ListeningStatus `json:"listening"`
	Probes    *ProbeStatus    `json:"probes,omitempty"`  // absent: the node does not probe
	Cluster   *ClusterStatus  `json:"cluster,omitempty"` // absent: the node is in no cluster
}

// ProbeStatus is what the node's prober is doing.
type ProbeStatus struct {
	Node      string     `json:"node"`                 // its name
	Checks    int        `json:"checks"`               // that it looks at
	Holding   bool       `json:"holding"`              // most targets are silent, so that it reports no failure without an answer
	HeldSince *time.Time `json:"held_since,omitempty"` // while it is holding
	Held      int        `json:"held"`                 // checks whose failure is held back
}

// StoreStatus is how the event store is.
type StoreStatus struct {
	Kind     string   `json:"kind"` // embedded or esdb
	ID       string   `json:"id"`
	Timeline string   `json:"timeline,omitempty"` // absent: its first
	Position Position `json:"position"`           // of the newest durable event; the catalog's, if the store cannot be asked
	Bytes    *uint64  `json:"bytes,omitempty"`    // of its files; absent: they are not on this machine
	Problem  string   `json:"problem,omitempty"`  // why it takes no commands, or cannot be asked
}

// DiskStatus is how the file system of the data folder is, in bytes.
type DiskStatus struct {
	Free  uint64 `json:"free"`
	Total uint64 `json:"total"`
}

// CatalogStatus is how the catalog is.
type CatalogStatus struct {
	Position  Position        `json:"position"`
	Behind    *uint64         `json:"behind,omitempty"` // positions behind the store; absent: it cannot be asked
	Lag       domain.Duration `json:"lag"`              // since it was last known to be level with the store; up to 2 s mean nothing
	Stale     bool            `json:"stale"`            // the store could not be reached since the start: it comes from a snapshot
	Services  int             `json:"services"`
	Instances int             `json:"instances"`       // without the registry's own nodes
	Nodes     int             `json:"nodes,omitempty"` // of the registry that are registered, for they probe
	Skipped   int64           `json:"skipped"`         // events that could not be applied
}

// HistoryStatus is how the history is.
type HistoryStatus struct {
	Position Position `json:"position"`
	Behind   *uint64  `json:"behind,omitempty"` // as the catalog's
	Entries  int64    `json:"entries"`
}

// LeaseStatus counts leases.
type LeaseStatus struct {
	Count   int `json:"count"`
	Overdue int `json:"overdue"` // past their deadline, and not taken out
	// ExpiryHeld are the namespaces in which expiry is held; "*": those that are not named.
	ExpiryHeld map[string]ExpiryHeld `json:"expiry_held"`
}

// ListeningStatus is whether the node can take heartbeats, and for how long it could not since it started.
type ListeningStatus struct {
	Able    bool                                `json:"able"`
	Since   *time.Time                          `json:"since,omitempty"` // while it is not able: since when
	Cause   domain.Deafness                     `json:"cause,omitempty"` // while it is not able
	Total   domain.Duration                     `json:"total"`           // in which it was not able
	ByCause map[domain.Deafness]domain.Duration `json:"by_cause"`
}
