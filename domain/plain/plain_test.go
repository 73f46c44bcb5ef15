package plain_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain/plain"
)

func TestASpanEndsAtTheFirstByteThatIsNotPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SampledFrom([]byte("ab ~{}<&\x7f\x80\xff\x1f\x00\n\"\\"))
		b := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "any")
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			b = append(b, make([]byte, rapid.IntRange(0, 11).Draw(t, "run"))...)
			for i := range b {
				if b[i] == 0 {
					b[i] = 'x'
				}
			}
			b = append(b, rapid.SliceOfN(some, 0, 9).Draw(t, "some")...)
		}
		want := 0
		for want < len(b) && b[want] >= ' ' && b[want] < 0x7f && b[want] != '"' && b[want] != '\\' {
			want++
		}
		if got := plain.Span(b); got != want {
			t.Fatalf("%q has %d plain bytes first, want %d", b, got, want)
		}
	})
}
