package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every time of the table in docs/cli.md is understood, and its file of contexts is read.
func TestTheTimesAndContextsOfTheCommandLinesDocument(t *testing.T) {
	text := readText(t, "docs/cli.md")
	_, table, _ := strings.Cut(text, "\n| | such as |\n")
	table, _, _ = strings.Cut(table, "\nA date without a time ")
	understood := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		for _, found := range spans.FindAllStringSubmatch(cells[max(0, len(cells)-2)], -1) {
			if _, err := parseWhen(found[1], time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC)); err != nil {
				t.Errorf("%q: %v", found[1], err)
			}
			understood++
		}
	}
	if understood < 15 {
		t.Errorf("the table has %d times", understood)
	}
	folder := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", folder)
	for _, block := range fenced.FindAllStringSubmatch(text, -1) {
		if block[1] != "yaml" {
			continue
		}
		if err := os.Mkdir(filepath.Join(folder, "rollcall"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "rollcall", "contexts.yaml"), []byte(block[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := rollcall("context", "list"); err != nil || !strings.Contains(out, "rollcall.example.com") {
		t.Error(err, out)
	}
}
