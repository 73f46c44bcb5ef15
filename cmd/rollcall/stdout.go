package main

import (
	"io"
	"os"
	"sync"
)

// standardOutput is where commands print. It remembers that a write failed, so that no command ends well whose output is lost, whether or
// not the command looks at the errors of its writes.
type standardOutput struct {
	file *os.File

	mu   sync.Mutex
	lost error // of the first write that failed
}

// Write implements io.Writer.
func (o *standardOutput) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.lost == nil {
			o.lost = err
		}
	}
	return n, err
}

// failed is the error of a command that has printed here: its own, or that its output is lost.
func (o *standardOutput) failed(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		err = o.lost
	}
	return err
}

// fileOf is the file to which a writer writes; nil: to none.
func fileOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *standardOutput:
		return w.file
	}
	return nil
}
