package main

import (
	"strings"
	"testing"
)

func TestARowStaysALineWhateverTheTextsAre(t *testing.T) {
	var b strings.Builder
	err := table(&b, "ID\tVERSION\tZONE", func(row func(...any)) {
		row("a", "1\n2", "x\ty")
		row("b", "1\r\n2", "z")
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "ID  VERSION  ZONE\na   1 2      x y\nb   1 2      z\n"; b.String() != want {
		t.Errorf("the table is\n%q, want\n%q", b.String(), want)
	}
}
