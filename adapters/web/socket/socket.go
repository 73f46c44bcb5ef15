// Package socket makes system calls that wait for nothing. Go's runtime is not told of them: a goroutine that is known to be in a system
// call wakes the runtime's monitor, which then looks every 20 µs whether the call still lasts, until all processors are idle. Where few
// things happen, the monitor costs more than the calls (ADR 135).
//
// REQUIRES of Send, Receive and Ready: the descriptor stays open during the call, and b is not empty. A Conn keeps its descriptor open.
package socket
