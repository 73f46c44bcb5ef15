// Package web has the parts that all HTTP faces share: the server and its timeouts, admission, problems, checks of the
// query's parameters, the guard against browsers, request ids and recovered panics. A face decides what its paths and
// bodies mean.
package web
