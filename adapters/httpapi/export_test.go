package httpapi

// PlainStrings lets a fuzz test compare it with the library.
func PlainStrings(body []byte) ([]string, bool) { return plainStrings(nil, body) }

// HoldScans takes all turns of scans.
func (a *API) HoldScans() {
	for a.api.scanTurns.TryEnter() {
	}
}

// HoldLongBodies takes all turns for long bodies of commands and scans.
func (a *API) HoldLongBodies() {
	for a.api.commandTurns.Long.TryEnter() {
	}
}

// HoldHeartbeats takes all turns of heartbeats, until they are released.
func (a *API) HoldHeartbeats() (release func()) {
	held := 0
	for a.api.heartbeatTurns.TryEnter() {
		held++
	}
	return func() {
		for ; held > 0; held-- {
			a.api.heartbeatTurns.Leave()
		}
	}
}
