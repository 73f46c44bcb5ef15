package lane

// Plain is a plain request, for a fuzz test.
type Plain struct {
	Kind Kind
	Subject
	Match, Limit, Owner, Via, Body []byte
	Minimal, Ready                 bool
}

// ReadPlain lets a fuzz test compare the lane's reading of a request with the HTTP server's.
func ReadPlain(raw []byte) (Plain, bool) {
	r, ok := readPlain(raw, false)
	return Plain{r.kind, r.Subject, r.match, r.limit, r.owner, r.via, r.body, r.minimal, r.ready}, ok
}

// PlainReport is a plain report of a check, for a fuzz test.
type PlainReport struct {
	Kind                      Kind
	Check, Status, Note, Body []byte
}

// ReadReport is ReadPlain for reports of checks.
func ReadReport(raw []byte) (PlainReport, bool) {
	r, ok := readPlain(raw, true)
	return PlainReport{r.kind, r.ID, r.status, r.note, r.body}, ok
}
