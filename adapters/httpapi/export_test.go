package httpapi

// PlainStrings lets a fuzz test compare it with the library.
func PlainStrings(body []byte) ([]string, bool) { return plainStrings(nil, body) }
