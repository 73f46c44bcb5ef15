package access

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func TestATextCapturesNamesBetweenItsLiterals(t *testing.T) {
	for _, c := range []struct {
		text, value string
		want        captures // nil: no match
	}{
		{"checkout", "checkout", captures{}},
		{"checkout", "checkouts", nil},
		{"check*", "checkout", captures{}},
		{"*", "", captures{}},
		{"*", "a\nb", captures{}},
		{"a.b", "aXb", nil},
		{"spiffe://prod.example/ns/{ns}/sa/{service}", "spiffe://prod.example/ns/shop/sa/checkout", captures{"ns": "shop", "service": "checkout"}},
		{"spiffe://prod.example/ns/{ns}/sa/{service}", "spiffe://prod.example/ns/shop/x/sa/checkout", nil},
		{"spiffe://prod.example/ns/{ns}/sa/{service}", "spiffe://prod.example/ns//sa/checkout", nil},
		{"spiffe://prod.example/ns/{ns}/sa/{service}", "spiffe://prod.example/ns/shop/sa/*", nil},
		{"spiffe://prod.example/ns/{ns}/*", "spiffe://prod.example/ns/shop/sa/checkout", captures{"ns": "shop"}},
		{"system:serviceaccount:{ns}:{service}", "system:serviceaccount:shop:checkout", captures{"ns": "shop", "service": "checkout"}},
		{"system:serviceaccount:{ns}:{service}", "system:serviceaccount:shop:checkout:x", nil},
		{"team-{ns}", "team-*", nil},
		{"team-{ns}-ops", "team-a-ops-ops", captures{"ns": "a-ops"}},
		{"team-{ns}", "team-a\n", nil},
	} {
		parsed, err := parseText(c.text)
		if err != nil {
			t.Fatalf("%q: %v", c.text, err)
		}
		got, ok := parsed.join(nil, c.value)
		if ok != (c.want != nil) || ok && !maps.Equal(got, c.want) {
			t.Errorf("%q on %q: %v, %v", c.text, c.value, got, ok)
		}
	}
}

func TestATextThatCouldMatchInTwoWaysIsRefused(t *testing.T) {
	for text, want := range map[string]error{
		"{a}{b}": errApart, "{a}-{b}": errApart, "{a}*": errApart, "{a}.x*": errApart, "{a}/{a}": errTwice,
		"a*b": errStar, "**": errStar, "{": errBraces, "a}": errBraces, "{A}": errBraces, "{}": errBraces, "{{a}}": errBraces,
	} {
		if _, err := parseText(text); err != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whoever knows the captures knows the value: so a value stands for one set of names only.
func TestCapturesAndTextGiveTheValueBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		template := rapid.StringMatching(`(\{a\}|[x./-]){0,3}/(\{b\}|[x./-]){0,3}`).Draw(t, "text")
		value := rapid.StringMatching(`[x./-]{0,4}/[x./-]{0,4}`).Draw(t, "value")
		parsed, err := parseText(template)
		if err != nil {
			t.Skip()
		}
		if found, ok := parsed.join(nil, value); ok && found.fill(template) != value {
			t.Fatalf("%q on %q: %v", template, value, found)
		}
	})
}

func TestACaptureMeansOneThingInARule(t *testing.T) {
	first, err := parseText("ns-{ns}")
	if err != nil {
		t.Fatal(err)
	}
	found, _ := first.join(nil, "ns-shop")
	if _, ok := first.join(found, "ns-pay"); ok {
		t.Error("one name stands for two values")
	}
	if again, ok := first.join(found, "ns-shop"); !ok || again["ns"] != "shop" {
		t.Errorf("%v, %v", again, ok)
	}
}
