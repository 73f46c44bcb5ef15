package consul

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/singleflight"

	"github.com/rollcall-registry/rollcall/projections/encoded"
)

// keptReplies is how many bytes of replies are kept for those who ask for the same later.
const keptReplies = 16 << 20

// replies are those that are shared: whoever asks for the same thing at the same moment with the same rights gets the same
// bytes, which are encoded and compressed once.
type replies struct {
	making singleflight.Group
	kept   encoded.Kept
}

// shaping are the parameters that give a reply its content.
var shaping = []string{"filter", "tag", "node-meta", "passing", "pretty"}

// asked names what a request asks for, but for the moment and the caller's rights.
func (q *request) asked() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q %v %v", q.route, q.id, q.named, q.elsewhere)
	for _, name := range shaping {
		if values, given := q.query[name]; given {
			fmt.Fprintf(&b, " %s=%q", name, values)
		}
	}
	return b.String()
}

// name names the reply about the instances, for callers who may read the same of the services. A nil shape has a name, too.
func (s *shape) name(q *request) string {
	if s == nil {
		return "nothing " + q.asked()
	}
	var hidden []string
	for key := range s.group.Services {
		if !q.readsService(key) {
			hidden = append(hidden, key.Service)
		}
	}
	return fmt.Sprintf("%d %q %s", s.serial, hidden, q.asked())
}

// name names the reply about everything at the moment.
func (m moment) name(q *request) string {
	return fmt.Sprintf("at %d %q %s %s", m.changed, q.namespace, m.rights, q.asked())
}

// answer sends a reply of that name. content must not depend on more of the request than its name tells.
func (f *face) answer(q *request, name string, content func() (any, error)) error {
	plain, err := f.shared(name, func() ([]byte, error) {
		v, err := content()
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		return q.formatted(body), nil
	})
	if err != nil {
		return err
	}
	r := reply{plain: plain}
	if q.takesGzip() && len(plain) >= compressed {
		if r.small, err = f.shared("gzip "+name, func() ([]byte, error) { return compress(plain, true), nil }); err != nil {
			return err
		}
	}
	return q.sendReply(http.StatusOK, r)
}

// shared are the bytes of that name, which are made once. Short ones are made again for those who come later: there may be
// many, and their names take more memory than they do.
func (f *face) shared(name string, make func() ([]byte, error)) ([]byte, error) {
	sum := sha256.Sum256([]byte(name)) // a name has what a client sent, which may be long
	name = string(sum[:])
	if form, ok := f.replies.kept.Find(name); ok {
		return form.Bytes, nil
	}
	made, err, _ := f.replies.making.Do(name, func() (any, error) {
		body, err := make()
		if err == nil && len(body) >= compressed {
			body = slices.Clip(body)
			f.replies.kept.Put(name, encoded.Form{Bytes: body})
		}
		return body, err
	})
	if err != nil {
		return nil, err
	}
	return made.([]byte), nil
}
