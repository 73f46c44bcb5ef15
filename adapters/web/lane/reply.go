package lane

import (
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// copyUpTo is the length up to which a body is copied behind the headers, which is cheaper than to send both as they are. A longer body is
// sent from the Face's memory.
const copyUpTo = 16 << 10

// outgoing is a reply that is being written. INVARIANT: one in the pool points to no Face's memory.
type outgoing struct {
	text  []byte // the headers, and the body if it is short
	parts [2][]byte
	left  net.Buffers // of parts
}

// replies are kept for later replies. Those of all connections share them: at most times few connections are being written to.
var replies = sync.Pool{New: func() any { return new(outgoing) }}

// send sends the reply. The reply's slices belong to the Face until send returns.
func (c *conn) send(r *Reply, now time.Time) (err error) {
	out := replies.Get().(*outgoing)
	defer replies.Put(out)
	out.text = c.lane.appendHeaders(out.text[:0], r, now)
	if len(r.Body) <= copyUpTo {
		out.text = append(out.text, r.Body...)
		_, err = c.stream().Write(out.text)
		return err
	}
	out.parts = [2][]byte{out.text, r.Body}
	out.left = out.parts[:]
	_, err = out.left.WriteTo(c.Conn)
	clear(out.parts[:])
	return err
}

// appendHeaders appends the reply up to its body. The headers are in the order in which net/http writes headers: by name, then Date.
func (l *Lane) appendHeaders(b []byte, r *Reply, now time.Time) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(append(b, ' '), http.StatusText(r.Status)...)
	if r.Status != http.StatusNotModified {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	}
	b = appendHeader(b, "\r\nContent-Type: ", r.Type)
	b = appendHeader(b, "\r\nEtag: ", r.ETag)
	b = appendHeader(b, "\r\nLocation: ", r.Location)
	b = appendHeader(b, "\r\nPreference-Applied: ", r.Applied)
	b = appendHeader(b, "\r\nRetry-After: ", r.RetryAfter)
	b = appendHeader(b, "\r\nRollcall-Position: ", r.Position)
	b = appendHeader(b, "\r\nVary: ", l.options.Vary)
	b = appendHeader(b, "\r\nVary: ", r.Vary)
	b = appendHeader(b, "\r\nX-Consul-Default-Acl-Policy: ", r.Policy)
	b = appendHeader(b, "\r\nX-Request-Id: ", r.RequestID)
	b = append(append(b, "\r\nDate: "...), l.date.at(now)...)
	return append(b, "\r\n\r\n"...)
}

func appendHeader[T string | []byte](b []byte, name string, value T) []byte {
	if len(value) == 0 {
		return b
	}
	return append(append(b, name...), value...)
}
