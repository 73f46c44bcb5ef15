package lane

import (
	"net/http"
	"strconv"
	"time"
)

// copyUpTo is the length up to which a body is copied behind the headers into the connection's buffer. A longer body is
// cheaper to send from the Face's memory, and would make the buffer of every connection larger.
const copyUpTo = 2 << 10

// send sends the reply. The reply's slices belong to the Face until send returns.
func (c *conn) send(r *Reply, now time.Time) error {
	c.reply = c.lane.appendHeaders(c.reply[:0], r, now)
	var err error
	if len(r.Body) <= copyUpTo {
		c.reply = append(c.reply, r.Body...)
		_, err = c.Conn.Write(c.reply)
	} else {
		c.parts = [2][]byte{c.reply, r.Body}
		c.unsent = c.parts[:]
		_, err = c.unsent.WriteTo(c.Conn)
		clear(c.parts[:])
	}
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
	b = appendHeader(b, "\r\nRetry-After: ", r.RetryAfter)
	b = appendHeader(b, "\r\nRollcall-Position: ", r.Position)
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
