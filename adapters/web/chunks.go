package web

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"github.com/labstack/echo/v4"
)

// Chunks writes the body of a reply to its connection, past the buffers of net/http, which take a tenth of what it costs to tell
// a subscriber of a change (ADR 123).
//
// It relies on net/http as follows (TestAStreamPastNetHTTPIsByteForByteItsOwn notices a change): once the headers of a reply
// to an HTTP/1.1 request are flushed and say Transfer-Encoding: chunked, net/http writes nothing more until the handler
// writes through it or ends, and then ends the body by an empty chunk.
type Chunks struct {
	c        echo.Context
	response *echo.Response
	conn     net.Conn
	charged  bool            // the bytes are charged to the caller
	raw      syscall.RawConn // of conn; nil: there is no way to write without waiting
	write    func(fd uintptr)
	rest     []byte // what Try has left to SendRest
}

// Bytes around those of a chunk. The bytes before are as many as the longest need.
const (
	ChunkHead = 10 // ChunkHead is how many bytes are free before the bytes of a chunk that is not sealed
	chunkTail = "\r\n"
)

// Chunk is a chunk with the bytes around it. Several replies may share one.
type Chunk []byte

// SealChunk makes a chunk. The first ChunkHead bytes of b are free, and are not part of the chunk's bytes. b is used up.
func SealChunk(b []byte) Chunk {
	clear(b[:ChunkHead])
	var size [ChunkHead]byte
	head := append(strconv.AppendInt(size[:0], int64(len(b)-ChunkHead), 16), "\r\n"...)
	copy(b[ChunkHead-len(head):], head)
	return append(b, chunkTail...)
}

// Bytes are those of the chunk without what is around them.
func (c Chunk) Bytes() []byte { return c[ChunkHead : len(c)-len(chunkTail)] }

// whole are the bytes as they are sent.
func (c Chunk) whole() []byte { return bytes.TrimLeft(c, "\x00") }

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
	w := &Chunks{c: c, response: c.Response(), conn: conn, charged: charged}
	w.beDirect()
	return w
}

// Write writes one chunk. REQUIRES: Left is false. An error ends the connection.
func (w *Chunks) Write(c Chunk) error {
	w.charge(c) // first: whoever has read the chunk may ask for more at once
	if err := w.send(c.whole()); err != nil {
		return err
	}
	w.count(c)
	return nil
}

// Left says whether Try has left something to SendRest.
func (w *Chunks) Left() bool { return len(w.rest) > 0 }

// Direct says whether Try can write.
func (w *Chunks) Direct() bool { return w.raw != nil && !w.Left() }

// Try writes one chunk without waiting. false: SendRest is to be called. REQUIRES: Direct.
func (w *Chunks) Try(c Chunk) bool {
	w.charge(c)
	w.count(c)
	w.rest = c.whole()
	if err := w.raw.Control(w.write); err == nil && len(w.rest) == 0 {
		w.rest = nil
		return true
	}
	w.rest = bytes.Clone(w.rest)
	return false
}

// SendRest writes what Try has left. An error ends the connection.
func (w *Chunks) SendRest() error {
	rest := w.rest
	w.rest = nil
	return w.send(rest)
}

func (w *Chunks) send(b []byte) error {
	_, err := w.conn.Write(b)
	if err != nil {
		_ = w.conn.Close() // a part of the chunk may be written
	}
	return err
}

func (w *Chunks) charge(c Chunk) {
	if w.charged {
		Charge(w.c, Bytes, len(c.Bytes()))
	}
}

func (w *Chunks) count(c Chunk) { w.response.Size += int64(len(c.Bytes())) }
