package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// message is one message of a stream of server-sent events.
type message struct {
	id   string // of this message, or of the newest before it that had one
	kind string
	data []byte // belongs to whoever gets the message
}

// messages reads a stream of server-sent events (WHATWG HTML 9.2.5), whose lines end as a registry ends them: with a line feed, or with a
// carriage return before it. The time that a message takes grows with its length, and nothing is kept of a message that was given.
type messages struct {
	in      *bufio.Reader
	most    int          // bytes of a line, and of a message's data
	comment func([]byte) // is called with each comment, behind the messages before it; nil: no call
	id      string
}

// lineBuffer is how many bytes are read at once. A stream that is quiet keeps a buffer of this size.
const lineBuffer = 16 << 10

func newMessages(in io.Reader, most int) *messages {
	return &messages{in: bufio.NewReaderSize(in, lineBuffer), most: most}
}

// next is the next message. io.EOF: the stream ended behind a message; a part of a message is never given.
func (s *messages) next() (message, error) {
	var m message
	begun, hasData := false, false
	for {
		line, owned, err := s.line()
		switch {
		case errors.Is(err, io.EOF) && begun:
			return m, io.ErrUnexpectedEOF
		case err != nil:
			return m, err
		case len(line) == 0 && hasData:
			m.id = s.id
			return m, nil
		case len(line) == 0: // a message without data is none
			m, begun = message{}, false
			continue
		case line[0] == ':':
			if s.comment != nil {
				s.comment(line[1:])
			}
			continue
		}
		begun = true
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			s.id = string(value)
		case "event":
			m.kind = string(value)
		case "data":
			switch {
			case len(m.data)+len(value) >= s.most:
				return m, s.tooLong()
			case hasData:
				m.data = append(append(m.data, '\n'), value...)
			case owned:
				m.data = value
			default:
				m.data = bytes.Clone(value)
			}
			hasData = true
		}
	}
}

// line is the next line without its end. It is valid until the next call, unless it is owned.
func (s *messages) line() (line []byte, owned bool, err error) {
	part, err := s.in.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		if line, owned = append(line, part...), true; len(line) > s.most {
			return nil, false, s.tooLong()
		}
		part, err = s.in.ReadSlice('\n')
	}
	switch {
	case errors.Is(err, io.EOF) && len(line)+len(part) > 0:
		return nil, false, io.ErrUnexpectedEOF
	case err != nil:
		return nil, false, err
	case owned:
		line = append(line, part...)
	default:
		line = part
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), owned, nil
}

func (s *messages) tooLong() error {
	return fmt.Errorf("a message has more than %d MiB, which is more than a client takes", s.most>>20)
}
