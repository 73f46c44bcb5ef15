package consul

// HoldTurns takes all turns of reports of checks, or of other requests.
func (f *Face) HoldTurns(ofReports bool) {
	turns := f.face.working
	if ofReports {
		turns = f.face.reporting
	}
	for turns.TryEnter() {
	}
}

// HoldBlocked takes all places of blocking queries.
func (f *Face) HoldBlocked() {
	for range cap(f.face.blocked) {
		f.face.blocked <- struct{}{}
	}
}
