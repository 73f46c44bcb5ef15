package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// misleading is a reason that a terminal would show as another one: an order to clear the screen, a text that runs from right to left,
// and characters that are shown as nothing.
const misleading = "clean\u009b2J-up \u202egod yb\u202c a\u200bb\ufeff \U000e0041"

func TestMisleadingCharactersAreWrittenVisibly(t *testing.T) {
	for text, want := range map[string]string{
		misleading: "clean<U+009B>2J-up <U+202E>god yb<U+202C> a<U+200B>b<U+FEFF> <U+E0041>",
		"caf\u00e9 \u0645\u0631\u062d\u0628\u0627 \U0001f468\u200d\U0001f469\u200d\U0001f467": "caf\u00e9 \u0645\u0631\u062d\u0628\u0627 \U0001f468\u200d\U0001f469\u200d\U0001f467",
		"a\tb\nc":                "a\tb\nc",
		"\x1b[32mpassing\x1b[0m": "\x1b[32mpassing\x1b[0m",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := visibleLine("\x1b[2J"); got != "\uFFFD[2J" {
		t.Errorf("an order to the terminal is shown as %q", got)
	}
}

func TestJSONForATerminalIsTheSameValue(t *testing.T) {
	raw := []byte(`{"reason":"` + misleading + `"}`)
	shown := visibleJSON(raw)
	if strings.IndexFunc(shown, misleads) >= 0 {
		t.Errorf("a misleading character is left: %q", shown)
	}
	var value struct{ Reason string }
	if err := json.Unmarshal([]byte(shown), &value); err != nil || value.Reason != misleading {
		t.Errorf("%q, %v", value.Reason, err)
	}
}

// Whoever registers or removes an instance chooses texts of what others read.
func TestNoLineForPeopleHasMisleadingCharacters(t *testing.T) {
	url := startServer(t, t.TempDir()).url
	for _, args := range [][]string{
		{"register", "web/a", "--address", "10.0.0.1", "--tag", misleading, "--meta", "k=" + misleading, "--version", misleading},
		{"drain", "web/a", "--reason", misleading},
	} {
		if _, errs, code := run(t, nil, append(args, "--url", url)...); code != 0 {
			t.Fatal(errs)
		}
	}
	for _, args := range [][]string{{"instances", "web", "-o", "wide"}, {"get", "instance", "web/a"}, {"history", "web"}, {"why", "web/a"}, {"diff", "--from", "1"}, {"services", "-o", "wide"}} {
		out, errs, code := run(t, nil, append(args, "--url", url)...)
		if code != 0 {
			t.Fatal(errs)
		}
		if at := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && misleads(r) }); at >= 0 {
			t.Errorf("rollcall %v: %q", args, out[at:min(at+40, len(out))])
		}
	}
	if out, _, _ := run(t, nil, "history", "web", "--url", url, "-o", "json"); !strings.Contains(out, "\u202e") {
		t.Error("a program gets another text than the one that was given")
	}
}
