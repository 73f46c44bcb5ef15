package pebblestore

import (
	"fmt"
	"log/slog"
	"runtime"
)

// EngineLog logs the errors of a storage engine and nothing else.
type EngineLog struct {
	Logger *slog.Logger
	Engine string // what the lines call it
}

// Infof implements pebble.Logger.
func (l EngineLog) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l EngineLog) Errorf(format string, args ...any) {
	l.Logger.Error(l.Engine, "error", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. It must not return. The goroutine that writes recovers the panic, and takes no more writes from
// then on. In any other goroutine the panic ends the process, which loses no acknowledged event.
func (l EngineLog) Fatalf(format string, args ...any) {
	panic(fatal(fmt.Sprintf(format, args...)))
}

type fatal string

func (f fatal) Error() string { return string(f) }

// engineFault is the error with which the engine panicked, as recover gave it; nil: there was no panic. The engine panics through
// Fatalf, and with the error itself where its log could not be written: locked says that it then holds a lock for ever, so that it
// cannot be closed. Any other panic is a mistake in the program, and goes on.
func engineFault(cause any) (fault error, locked bool) {
	if cause == nil {
		return nil, false
	}
	fault, ok := cause.(error)
	if _, mistake := cause.(runtime.Error); mistake || !ok {
		panic(cause)
	}
	_, said := fault.(fatal)
	return fault, !said
}
