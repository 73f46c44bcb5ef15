package bench

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
)

// serveRaw is the floor without a framework and without net/http: it finds the end of a request, looks at its first line, and
// writes an answer of the size that is asked for. Nothing can answer a request on a connection for much less in Go. It answers
// PUT /204 and GET /bytes/<size>, and requests have no body.
func serveRaw(ctx context.Context, listener net.Listener) error {
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go answerRaw(conn)
	}
}

func answerRaw(conn net.Conn) {
	defer conn.Close()
	in := make([]byte, 4<<10)
	n := 0
	size, answer := -1, rawNoContent // the last answer; most requests of a connection are alike
	for {
		read, err := conn.Read(in[n:])
		if err != nil {
			return
		}
		n += read
		end := bytes.Index(in[:n], []byte("\r\n\r\n"))
		if end < 0 {
			if n == len(in) {
				return
			}
			continue
		}
		switch wanted := rawSize(in[:end]); {
		case wanted < -1:
			return
		case wanted != size:
			size, answer = wanted, rawAnswer(wanted)
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
		n = copy(in, in[end+4:n])
	}
}

var rawNoContent = []byte("HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n")

// rawSize is how many bytes a request asks for; -1: no content; -2: it is none that serveRaw answers.
func rawSize(request []byte) int {
	if bytes.HasPrefix(request, []byte("PUT /204 ")) {
		return -1
	}
	path, ok := bytes.CutPrefix(request, []byte("GET /bytes/"))
	digits, _, _ := bytes.Cut(path, []byte(" "))
	size, err := strconv.Atoi(string(digits))
	if !ok || err != nil || size < 0 || size > maxFloorBytes {
		return -2
	}
	return size
}

func rawAnswer(size int) []byte {
	if size < 0 {
		return rawNoContent
	}
	return []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n" +
		strings.Repeat("x", size))
}
