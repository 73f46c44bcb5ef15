package client

import "net/http"

// NoUpgrade closes the connection of a reply with 101 Switching Protocols, and leaves the reply without a body. What comes after 101 is the bare
// connection, of which a read knows no timeout, and nobody here asks for it. Whoever sends requests calls NoUpgrade before reading a reply's
// body, and then judges the status as any other.
func NoUpgrade(reply *http.Response) {
	if reply.StatusCode == http.StatusSwitchingProtocols {
		_ = reply.Body.Close() // nothing of it is wanted
		reply.Body = http.NoBody
	}
}
