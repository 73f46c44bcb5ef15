// Package api holds the API's description, so that the server can hand it out.
package api

import _ "embed"

// OpenAPI is the OpenAPI 3.1 description of the HTTP API, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
