// Package domain holds the rules of the registry: what a service instance is, which commands it
// answers, which events those commands produce and what the events mean. It is pure: no I/O, no
// clock, no goroutines. Decide turns a state and a command into events, Evolve turns a state and
// an event into the next state, and everything else in Rollcall is built around those two.
package domain
