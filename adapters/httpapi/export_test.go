package httpapi

// PlainHeartbeat lets a fuzz test compare the lane's reading of a request with the HTTP server's.
var PlainHeartbeat = plainHeartbeat

// PlainStrings lets a fuzz test compare it with the library.
var PlainStrings = plainStrings
