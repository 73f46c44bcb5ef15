package wire

// ScrapeTarget is a group of targets in Prometheus' HTTP service discovery. Every instance is a group of its own.
type ScrapeTarget struct {
	Targets []string          `json:"targets"` // host:port; one
	Labels  map[string]string `json:"labels"`  // their names begin with __meta_rollcall_
}
