package web

import (
	"net"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// Chunks writes the body of a reply to its connection, past the buffers of net/http, which take a tenth of what it costs to tell
// a subscriber of a change (ADR 123).
//
// It relies on net/http as follows (TestAStreamPastNetHTTPIsByteForByteItsOwn notices a change): once the headers of a reply
// to an HTTP/1.1 request are flushed and say Transfer-Encoding: chunked, net/http writes nothing more until the handler
// writes through it or ends, and then ends the body by an empty chunk.
type Chunks struct {
	c       echo.Context
	conn    net.Conn
	charged bool // the bytes are charged to the caller
}

// Room for what Chunks writes around the bytes of a chunk.
const (
	ChunkHead = 10 // ChunkHead is how many bytes are free before the bytes
	chunkTail = "\r\n"
)

// ChunksOf gives a way past net/http for the rest of a reply. nil: there is none, for the connection carries other requests, too,
// the reply has no chunks, or somebody else looks at what is written. REQUIRES: the headers of the reply are flushed, and
// the caller flushes what it writes through the response before it writes here.
func ChunksOf(c echo.Context) *Chunks {
	r := c.Request()
	conn, ok := r.Context().Value(connectionKey{}).(net.Conn)
	if !ok || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Method == http.MethodHead {
		return nil
	}
	writer := c.Response().Writer
	counted, charged := writer.(*countedWriter)
	if charged {
		writer = counted.ResponseWriter
	}
	if _, bare := writer.(http.Hijacker); !bare {
		return nil
	}
	return &Chunks{c, conn, charged}
}

// Write writes one chunk. The first ChunkHead bytes of b are free, and are not part of the chunk. An error ends the
// connection. It returns b, whose memory may be another now.
func (w *Chunks) Write(b []byte) ([]byte, error) {
	n := len(b) - ChunkHead
	var size [ChunkHead]byte
	head := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
	from := ChunkHead - len(head)
	copy(b[from:], head)
	b = append(b, chunkTail...)
	_, err := w.conn.Write(b[from:])
	if err != nil {
		_ = w.conn.Close() // a part of the chunk may be written
		return b, err
	}
	w.c.Response().Size += int64(n)
	if w.charged {
		Charge(w.c, Bytes, n)
	}
	return b, nil
}
