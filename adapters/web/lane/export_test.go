package lane

// Plain is a plain request, for a fuzz test.
type Plain struct {
	Kind                     Kind
	Service, ID, Match, Body []byte
}

// ReadPlain lets a fuzz test compare the lane's reading of a request with the HTTP server's.
func ReadPlain(raw []byte) (Plain, bool) {
	r, ok := readPlain(raw)
	return Plain{r.kind, r.service, r.id, r.match, r.body}, ok
}
