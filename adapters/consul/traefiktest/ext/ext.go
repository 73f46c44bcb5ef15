// Package ext stands for a module that Traefik replaces by a folder of its own repository, which a module of Go's proxy lacks. Its
// types add nothing.
package ext

// HTTP is what is added to Traefik's configuration of HTTP.
type HTTP struct{}

// Router is what is added to a router.
type Router struct{}
