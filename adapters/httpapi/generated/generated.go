// Package generated holds the API's description (docs/api) to what others make of it: a Go client by oapi-codegen, which tells
// its story against the real server, and a comparison with the last released description by oasdiff. It is a module of its
// own, so that the product's go.mod does not have these tools. The TypeScript client is in docs/api/clienttest.
package generated
