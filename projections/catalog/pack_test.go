package catalog

import (
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// pieces are what the texts of the tests are made of: phrases, parts of phrases, and what must not be taken for a phrase.
func pieces(t *rapid.T) string {
	var text strings.Builder
	for range rapid.IntRange(0, 12).Draw(t, "pieces") {
		p := rapid.SampledFrom(phrases[:]).Draw(t, "phrase")
		switch rapid.IntRange(0, 4).Draw(t, "piece") {
		case 0:
			p = p[:rapid.IntRange(0, len(p)).Draw(t, "end")]
		case 1:
			p = p[rapid.IntRange(0, len(p)).Draw(t, "begin"):]
		case 2:
			p = rapid.StringOf(rapid.RuneFrom([]rune("a1\",}]{[:\\é\uFFFD"))).Draw(t, "letters")
		case 3:
			p = string(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "bytes"))
		}
		text.WriteString(p)
	}
	return text.String()
}

func TestAPackedTextIsUnpackedToTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := pieces(t)
		packed := string(appendPacked([]byte("before"), text))
		packed, ok := strings.CutPrefix(packed, "before")
		if got := string(appendUnpacked([]byte("x"), packed)); !ok || got != "x"+text {
			t.Fatalf("%q is unpacked from %q to %q", text, packed, got)
		}
		if got := unpackedLength(packed); got != len(text) {
			t.Fatalf("the length of %q is said to be %d, and is %d", packed, got, len(text))
		}
	})
}

func TestEveryPhraseIsOneByteOrTwo(t *testing.T) {
	for place, p := range phrases {
		want := string([]byte{'x', byte(place)})
		if place >= oneByte {
			want = string([]byte{'x', more, byte(place - oneByte)})
		}
		if packed := appendPacked(nil, "x"+p); string(packed) != want {
			t.Errorf("%q is packed to %q, want %q", p, packed, want)
		}
	}
	if len(phrases) > oneByte+control {
		t.Errorf("there are %d phrases", len(phrases))
	}
}

func TestAPackedRegistrationIsSmall(t *testing.T) {
	const source = `{"epoch":1,"address":"10.15.66.63","ports":{"http":8080},"zone":"eu-1a","version":"1.0.0","weight":100,"status":"passing","ttl":"30s"}`
	if packed := appendPacked(nil, source); len(packed) > 31 {
		t.Errorf("a usual registration takes %d bytes: %q", len(packed), packed)
	}
	const checked = `{"epoch":1,"address":"127.0.0.1","ports":{"http":8080},"version":"1.0","weight":100,"status":"passing","ttl":"1h0m0s",` +
		`"checks":[{"id":"http","kind":"http","url":"http://127.0.0.1:8080/health","interval":"10s","timeout":"1s"}]}`
	if packed := appendPacked(nil, checked); len(packed) > 64 {
		t.Errorf("a usual registration with a check takes %d bytes: %q", len(packed), packed)
	}
	if size := unsafe.Sizeof(Entry{}); size > 64 {
		t.Errorf("an entry takes %d bytes, which are more than its size class had", size)
	}
}

// A text between quotes is never passed over in a text without a backslash.
func TestAPackedTextMayHoldEachOfItsStrings(t *testing.T) {
	value := rapid.StringOf(rapid.RuneFrom([]rune("a1,}]{[:"))).Filter(func(s string) bool { return s != "" })
	fields := []string{"address", "http", "tags", "zone", "version", "status", "ttl", "owner", "weight", "metadata", "ports", "x", "checks", "id", "kind", "url", "interval", "timeout"}
	rapid.Check(t, func(t *rapid.T) {
		var held []string
		var text strings.Builder
		text.WriteString(`{"epoch":1`)
		for range rapid.IntRange(1, 8).Draw(t, "fields") {
			name := rapid.OneOf(rapid.SampledFrom(fields), value).Draw(t, "name")
			held = append(held, name)
			text.WriteString(rapid.SampledFrom([]string{`,"`, `},"`, `"],"`, `{"`, `["`}).Draw(t, "before") + name + `":`)
			if rapid.Bool().Draw(t, "number") {
				text.WriteString("100")
				continue
			}
			v := rapid.OneOf(value, rapid.SampledFrom([]string{"passing", "30s", "http", "10s", "1s", "tcp"})).Draw(t, "value")
			held = append(held, v)
			text.WriteString(`"` + v + `"`)
		}
		packed := string(appendPacked(nil, text.String()))
		for _, one := range held {
			if strings.Contains(text.String(), `"`+one+`"`) && !mayHold(packed, one) {
				t.Fatalf("%q is in %q, and is passed over in %q", one, text.String(), packed)
			}
		}
	})
}
