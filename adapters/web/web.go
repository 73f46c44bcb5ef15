// Package web is what all HTTP faces share: problems, queries held to what a route takes, request ids and
// recovered panics. What a face's paths and bodies mean is left to the face.
package web
