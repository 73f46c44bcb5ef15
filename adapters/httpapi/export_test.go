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
