package wire

import "net/http"

// NodeCannotServe says that the node that answered cannot serve the request now, so that another node of the registry may.
// A node that is overloaded can serve, and must not send its load to the others.
func (p *Problem) NodeCannotServe() bool {
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage:
		return p.Kind() != "overloaded"
	}
	return false
}

// OutcomeUnknown says that a command that the problem answers may have been carried out. Any other problem says that
// nothing was written.
func (p *Problem) OutcomeUnknown() bool {
	switch p.Kind() {
	case "timeout", "store-unavailable", "read-only", "stopping", "internal", "projection-behind":
		return true
	}
	return false
}
