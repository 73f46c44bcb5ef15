// Package webui serves the web UI under /ui/: one page, and the scripts and styles that it needs. They are embedded in the
// binary. They hold nothing of the registry, so that no token is needed for them; the page asks the native API, with the
// token of whoever signed in.
package webui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

//go:embed page
var embedded embed.FS

// policy lets the page load and reach nothing but this server and some other origins, run no script but its files, and makes
// the browser refuse to read text as HTML.
func policy(others ...string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + strings.Join(append([]string{"'self'"}, others...), " ") +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// assetsMark is replaced in the page by the path of the assets.
const assetsMark = "{{assets}}"

// Config is what the handler needs.
type Config struct {
	Proxies  *web.Proxies // tell where requests come from; nil: from the connection's address
	Observer web.Observer // gets every request; nil: no observer
	Hosts    *web.Hosts   // for which requests are answered; nil: any host
	// SignIns are the issuers with which people may sign in; nil: there are none.
	SignIns func() []web.SignIn
	Logger  *slog.Logger
}

type file struct {
	kind          string // its Content-Type
	plain, zipped []byte
}

type ui struct {
	hash  string // of all assets: a change of one asset gives all of them other addresses
	page  file
	files map[string]file // by name
}

// load reads the embedded files and compresses them. A handler does it at its first request.
var load = sync.OnceValue(func() *ui {
	u := &ui{files: map[string]file{}}
	sum := sha256.New()
	read := func(name string) []byte {
		b, err := embedded.ReadFile(path.Join("page", name))
		if err != nil {
			panic(err) // the names come from the embedded folder
		}
		sum.Write(b)
		return b
	}
	entries, err := fs.ReadDir(embedded, "page")
	if err != nil {
		panic(err)
	}
	for _, e := range entries { // in the order of their names
		u.files[e.Name()] = newFile(e.Name(), read(e.Name()))
	}
	u.hash = hex.EncodeToString(sum.Sum(nil)[:10])
	index := u.files["index.html"].plain
	delete(u.files, "index.html")
	u.page = newFile("index.html", bytes.ReplaceAll(index, []byte(assetsMark), []byte("/ui/assets/"+u.hash)))
	return u
})

func newFile(name string, b []byte) file {
	f := file{kind: "text/javascript; charset=utf-8", plain: b}
	if path.Ext(name) != ".js" {
		f.kind = mime.TypeByExtension(path.Ext(name))
	}
	var zipped bytes.Buffer
	w, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // the level is right
	_, _ = w.Write(b)                                          // a buffer takes everything
	_ = w.Close()
	f.zipped = zipped.Bytes()
	return f
}

// New is the handler of /ui and all below it.
func New(c Config) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = web.Fail(c.Logger)
	e.Use(web.NewRequestIDs().Identify, c.Proxies.Resolve)
	if c.Observer != nil {
		e.Use(web.Observe(c.Observer, c.Logger, func(echo.Context) bool { return false }))
	}
	e.Use(web.Recover, web.Guard(c.Hosts), secured)
	web.Get(e.Group(""), "/ui", func(c echo.Context) error { return c.Redirect(http.StatusPermanentRedirect, "/ui/") })
	web.Get(e.Group(""), "/ui/assets/:hash/:name", asset)
	if c.SignIns == nil {
		c.SignIns = func() []web.SignIn { return []web.SignIn{} }
	}
	web.Get(e.Group(""), "/ui/sign-in.json", c.signIns)
	web.Get(e.Group(""), "/ui/signed-in", c.signedIn)
	web.Get(e.Group(""), "/ui/*", page)
	return e
}

// secured sets the headers that bound what the page may do.
func secured(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", policy())
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		return next(c)
	}
}

// page answers every address of the UI with the same page, which reads its own address.
func page(c echo.Context) error {
	u := load()
	etag := `"` + u.hash + `"`
	h := c.Response().Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", etag)
	if match := c.Request().Header.Get("If-None-Match"); match == etag || match == web.Weak(etag) {
		return c.NoContent(http.StatusNotModified)
	}
	return send(c, u.page)
}

func asset(c echo.Context) error {
	u := load()
	f, ok := u.files[c.Param("name")]
	if !ok || c.Param("hash") != u.hash {
		return echo.ErrNotFound // of another version: the page that asks for it must be loaded again
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return send(c, f)
}

func send(c echo.Context, f file) error {
	h := c.Response().Header()
	h.Set("Vary", "Accept-Encoding")
	if web.AcceptsGzip(strings.Join(c.Request().Header["Accept-Encoding"], ",")) {
		h.Set("Content-Encoding", "gzip")
		return c.Blob(http.StatusOK, f.kind, f.zipped)
	}
	return c.Blob(http.StatusOK, f.kind, f.plain)
}
