package main

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// misleads says whether a terminal shows a character as nothing, takes it for an order, or shows what follows in another order.
// Services choose their texts themselves, and a line of the audit must not be read as another one. The characters that join emoji and
// letters are shown as they are.
func misleads(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0: // controls
	case r == 0xad, r == 0x61c, r == 0x180e, r == 0x200b, r == 0x200e, r == 0x200f, r == 0xfeff: // shown as nothing, or marks of direction
	case r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f: // ends of lines, directions, what is shown as nothing
	case r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f: // notes, tags
	default:
		return false
	}
	return true
}

// visible is a text for people with misleading characters written as <U+202E>. Ends of lines, tabs and the terminal's colours stay.
func visible(s string) string {
	return written(s, func(b *strings.Builder, r rune) { fmt.Fprintf(b, "<U+%04X>", r) })
}

// visibleLine is visible for a text that has no colours.
func visibleLine(s string) string { return visible(strings.ReplaceAll(s, "\x1b", "\uFFFD")) }

// visibleJSON is JSON for a terminal: the same value, with misleading characters in their escaped form.
func visibleJSON(json []byte) string {
	return written(string(json), func(b *strings.Builder, r rune) {
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(b, `\u%04x`, unit)
		}
	})
}

// written is a text whose misleading characters were written by write.
func written(s string, write func(b *strings.Builder, r rune)) string {
	wrong := func(r rune) bool { return misleads(r) && !strings.ContainsRune("\n\t\r\x1b", r) }
	if strings.IndexFunc(s, wrong) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if wrong(r) {
			write(&b, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
