package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// An export goes on in a file that an export has begun, and empties or changes no other one. It waits for no pipe.
func TestAnExportEmptiesNoFileButItsOwn(t *testing.T) {
	line := `{"position":"7","id":"01a219e3-a42e-7286-badd-da08104a3a81","stream":"instance-default/web/a","revision":0,"recorded_at":"2026-01-02T15:04:05Z","type":"T","data":{},"metadata":{}}` + "\n"
	long := strings.Replace(line, `"data":{}`, `"data":{"x":"`+strings.Repeat("y", 300<<10)+`"}`, 1)
	for content, want := range map[string]string{ // "!": it is refused, and stays as it was
		"": "", line: line, line + line[:20]: line, line[:20]: "", line[:5]: "", "\x00\x00\x00": "", line[:20] + "\x00\x00": "", line + "\x00\x00": line,
		line + long[:200<<10]: line, line + long: line + long, long + line: long + line, long[:200<<10]: "", strings.Repeat("a", 200<<10): "!", strings.Repeat("a", 200<<10) + "\n": "!",
		"s3cret-token": "!", `{"address":"10.0.0.1"}`: "!", "{\"position\":7}": "!", "\n": "!", "a\nb": "!", "x\x00": "!",
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = resumePoint(f)
		left, readErr := os.ReadFile(path)
		switch {
		case readErr != nil:
			t.Fatal(readErr)
		case want == "!" && (err == nil || string(left) != content):
			t.Errorf("%.40q is not refused and left alone: %.40q, %v", content, left, err)
		case want != "!" && (err != nil || string(left) != want):
			t.Errorf("%.40q becomes %.40q, %v; want %.40q", content, left, err, want)
		}
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := resumePoint(f); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("a pipe gives %v", err)
	}
}

// A second export to a file is refused while the first one writes, and an export that gets no answer makes no file.
func TestAnExportTouchesNoFileInVain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	const halfWritten = `{"position":"7","id":"01a`
	if err := os.WriteFile(path, []byte(halfWritten), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := durable.Lock(first); err != nil {
		t.Fatal(err)
	}
	second, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_, err = resumePoint(second)
	if left, readErr := os.ReadFile(path); !errors.Is(err, errExporting) || string(left) != halfWritten || readErr != nil {
		t.Errorf("the second export gives %v, and the file has %q, %v", err, left, readErr)
	}
	none := filepath.Join(t.TempDir(), "none")
	if _, err := rollcall("events", "export", none, "--url", "http://127.0.0.1:1"); err == nil {
		t.Error("an export of nobody's events succeeds")
	}
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Errorf("it leaves a file: %v", err)
	}
}
