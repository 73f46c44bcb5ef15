package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries"
)

// historyInLane is how many entries the lane sends to a client that accepts compressed replies: more of them are mostly so long that the
// server compresses them.
const historyInLane = 12

// History implements lane.Face. The server answers with all failures, and waits where the history is behind.
//
// Pages of few entries have turns of their own, for which the lane waits. With the turns of scans, of which the lane took none that the
// server's requests waited for, a burst of pages that once went to the server kept all turns there, and the lane answered none.
func (f *laneFace) History(of lane.Subject, limit, match, encodings []byte) (reply lane.Reply, mine bool) {
	key := keyOf(of)
	gzip := encodings != nil && web.AcceptsGzip(string(encodings))
	entries, turns := queries.DefaultPage, f.api.pageTurns
	if limit != nil {
		entries, _ = strconv.Atoi(string(limit)) // digits
	}
	if entries > queries.DefaultPage {
		turns = f.api.scanTurns
	}
	if gzip && entries > historyInLane {
		return lane.Reply{}, false
	}
	allowed := domain.Allow(f.who.Grants, domain.ReadHistory, domain.Key{Namespace: key.Namespace, Service: key.Service})
	if !allowed || key.Validate() != nil || f.logsRequests() || !f.api.needsNoWarning(key.Namespace) {
		return lane.Reply{}, false
	}
	position := f.api.Queries.Position()
	if !f.api.Queries.HistoryReached(position) || turns.Enter() != nil {
		return lane.Reply{}, false
	}
	defer turns.Leave()
	page, err := f.api.Queries.HistoryPage(context.Background(), queries.HistoryQuery{
		Selection: queries.Selection{Namespace: key.Namespace, Service: key.Service, Instance: key.ID}, Limit: string(limit), Secrets: secretsOf(f.who),
	})
	if err != nil {
		return lane.Reply{}, false
	}
	if f.body, err = page.AppendJSON(f.body[:0]); err != nil || len(f.body) >= web.LargeBody || gzip && len(f.body) >= web.GzipFrom || f.usage.Take(web.Requests) != nil {
		return lane.Reply{}, false
	}
	etag := encoded.ETag(f.body)
	if web.Matches(string(match), etag) {
		reply = f.reply(http.StatusNotModified, position)
	} else {
		reply = f.reply(http.StatusOK, position)
		reply.Type, reply.Body = echo.MIMEApplicationJSON, f.body
	}
	reply.ETag = etag
	if len(f.body) >= web.GzipFrom {
		reply.Vary = "Accept-Encoding"
	}
	f.usage.Charge(web.Bytes, len(reply.Body))
	return reply, true
}
