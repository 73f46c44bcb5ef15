package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// withIndexes is the path of a field with the places in arrays and the keys of maps, which encoding/json leaves out:
// checks[1].headers.Host. offset is
// where in the document the value of the field ends, or begins if it is an object or an array.
func withIndexes(path string, document []byte, offset int64) string {
	type level struct {
		array bool
		index int    // of the present element
		key   string // of the present member
		value bool   // the next token is the member's value
	}
	var open []level
	where := func() string {
		var b strings.Builder
		for _, l := range open {
			switch {
			case l.array:
				fmt.Fprintf(&b, "[%d]", l.index)
			case b.Len() > 0:
				b.WriteString("." + l.key)
			default:
				b.WriteString(l.key)
			}
		}
		return b.String()
	}
	d := json.NewDecoder(bytes.NewReader(document))
	for {
		token, err := d.Token()
		if err != nil {
			return path
		}
		delim, _ := token.(json.Delim)
		closes := delim == ']' || delim == '}'
		if closes {
			open = open[:len(open)-1]
		}
		var in *level
		if len(open) > 0 {
			in = &open[len(open)-1]
		}
		if in != nil && !in.array && !in.value && !closes {
			in.key, _ = token.(string)
			in.value = true
			continue
		}
		if d.InputOffset() >= offset {
			if full := where(); within(path, full) {
				return full
			}
			return path
		}
		switch {
		case delim == '[' || delim == '{':
			open = append(open, level{array: delim == '['})
		case in != nil && in.array:
			in.index++
		case in != nil:
			in.value = false
		}
	}
}

// within says whether the names of a path are among those of the full path, in the same order.
func within(path, full string) bool {
	if path == "" {
		return true
	}
	rest := strings.Split(path, ".")
	for name := range strings.SplitSeq(plainPath(full), ".") {
		if len(rest) > 0 && name == rest[0] {
			rest = rest[1:]
		}
	}
	return len(rest) == 0
}

// plainPath is a path without the places in arrays.
func plainPath(path string) string {
	var b strings.Builder
	for path != "" {
		before, after, found := strings.Cut(path, "[")
		b.WriteString(before)
		if !found {
			break
		}
		_, path, _ = strings.Cut(after, "]")
	}
	return b.String()
}
