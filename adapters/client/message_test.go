package client

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// told are the messages and comments of a stream in short, and how the stream ends.
func told(in io.Reader, most int) (all []string, end error) {
	s := newMessages(in, most)
	s.comment = func(text []byte) { all = append(all, "#"+string(text)) }
	for {
		m, err := s.next()
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%s %s %s", m.id, m.kind, m.data))
	}
}

func TestAStreamIsReadMessageByMessage(t *testing.T) {
	long := strings.Repeat("x", 3*lineBuffer)
	for name, c := range map[string]struct {
		text string
		want string
		end  error
	}{
		"messages":                      {"id: 1\nevent: change\ndata: {}\n\nevent: cut\ndata: x\n\n", "1 change {}|1 cut x", io.EOF},
		"no blank behind the colon":     {"id:2\nevent:a\ndata:b\n\n", "2 a b", io.EOF},
		"carriage returns":              {"id: 1\r\nevent: a\r\ndata: b\r\n\r\n", "1 a b", io.EOF},
		"data in several lines":         {"data: a\ndata: b\ndata\n\n", "  a\nb\n", io.EOF},
		"a long line":                   {"data: " + long + "\n\ndata: y\n\n", "  " + long + "|  y", io.EOF},
		"several long lines":            {"data: " + long + "\ndata: " + long + "\n\n", "  " + long + "\n" + long, io.EOF},
		"comments":                      {": a\n\n:b\ndata: c\n: d\n\n", "# a|#b|# d|  c", io.EOF},
		"a field that nobody knows":     {"retry: 5\nother\ndata: a\n\n", "  a", io.EOF},
		"a message without data":        {"id: 7\nevent: a\n\ndata: b\n\n", "7  b", io.EOF},
		"a message that breaks off":     {"data: a\n\nid: 1\ndata: b\n", "  a", io.ErrUnexpectedEOF},
		"a line that breaks off":        {"data: a\n\ndata: b", "  a", io.ErrUnexpectedEOF},
		"a comment that breaks off":     {": a", "", io.ErrUnexpectedEOF},
		"a long line that breaks off":   {"data: " + long, "", io.ErrUnexpectedEOF},
		"nothing":                       {"", "", io.EOF},
		"empty lines only":              {"\n\r\n\n", "", io.EOF},
		"data that is empty":            {"event: a\ndata:\n\n", " a ", io.EOF},
		"a colon and a blank in data":   {"data:  a: b\n\n", "   a: b", io.EOF},
		"a message's memory is its own": {"data: a\n\ndata: b\n\n", "  a|  b", io.EOF},
	} {
		for how, in := range map[string]io.Reader{"at once": strings.NewReader(c.text), "byte by byte": iotest.OneByteReader(strings.NewReader(c.text))} {
			all, end := told(in, 1<<20)
			if got := strings.Join(all, "|"); got != c.want || !errors.Is(end, c.end) {
				t.Errorf("%s, %s: %.200q, %v; want %.200q, %v", name, how, got, end, c.want, c.end)
			}
		}
	}
}

func TestAMessageHasABound(t *testing.T) {
	const most = 1 << 20
	endless := io.MultiReader(strings.NewReader("data: "), repeated("x"))
	many := repeated("data: " + strings.Repeat("x", 1000) + "\n")
	for name, in := range map[string]io.Reader{"a line": endless, "lines": many, "a comment": io.MultiReader(strings.NewReader(":"), repeated("x"))} {
		if all, end := told(in, most); len(all) > 0 || end == nil || end.Error() != "a message has more than 1 MiB, which is more than a client takes" {
			t.Errorf("%s: %d messages, %v", name, len(all), end)
		}
	}
	fits := "data: " + strings.Repeat("x", most-100) + "\n\n"
	if all, end := told(strings.NewReader(fits), most); len(all) != 1 || !errors.Is(end, io.EOF) {
		t.Errorf("%d messages, %v", len(all), end)
	}
}

// repeated is a text again and again, without an end.
type repeated string

func (r repeated) Read(p []byte) (int, error) { return copy(p, r), nil }

func BenchmarkAMessage(b *testing.B) {
	for _, mib := range []int{1, 8, 32} {
		text := "id: 1\nevent: snapshot\ndata: " + strings.Repeat("x", mib<<20) + "\n\n"
		b.Run(fmt.Sprint(mib, "MiB"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if m, err := newMessages(strings.NewReader(text), maxRead).next(); err != nil || len(m.data) != mib<<20 {
					b.Fatal(err)
				}
			}
		})
	}
}
