package lane

// ReadPlain lets a fuzz test compare the lane's reading of a request with the HTTP server's.
func ReadPlain(raw []byte) (service, id, match []byte, ok bool) {
	r, ok := readPlain(raw)
	return r.service, r.id, r.match, ok
}
