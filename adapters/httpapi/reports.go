package httpapi

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

var (
	reportParameters   = []string{"after", "from", "to", "below", "format"}
	timelineParameters = []string{"ns", "after", "from", "to", "limit"}
)

func (a *api) namespaceReport(c echo.Context) error {
	namespace := pathPart(c, "namespace")
	if err := domain.ValidateLabel("namespace", namespace); err != nil {
		return err
	}
	return a.reportOn(c, queries.ReportQuery{Namespace: namespace})
}

func (a *api) serviceReport(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	return a.reportOn(c, queries.ReportQuery{Namespace: key.Namespace, Service: key.Service})
}

func (a *api) instanceReport(c echo.Context) error {
	key, err := checkedKey(c)
	if err != nil {
		return err
	}
	return a.reportOn(c, queries.ReportQuery{Namespace: key.Namespace, Service: key.Service, Instance: key.ID})
}

// reportOn answers with a report. q has what the path names, and reportOn adds the parameters.
func (a *api) reportOn(c echo.Context, q queries.ReportQuery) error {
	write, mediaType, err := reportForm(c.QueryParam("format"))
	if err != nil {
		return err
	}
	q.From, q.To, q.Below = c.QueryParam("from"), c.QueryParam("to"), c.QueryParam("below")
	report, err := a.Queries.Report(c.Request().Context(), q)
	if err != nil {
		return err
	}
	if write == nil {
		return answerJSON(c, report)
	}
	var body bytes.Buffer
	if err := write(&report, &body); err != nil {
		return err
	}
	return web.Answer(c, http.StatusOK, mediaType, body.Bytes())
}

// reportForm reads the format of a report. write is nil for JSON.
func reportForm(format string) (write func(*wire.Report, io.Writer) error, mediaType string, err error) {
	switch format {
	case "", "json":
		return nil, echo.MIMEApplicationJSON, nil
	case "csv":
		return (*wire.Report).WriteCSV, "text/csv; charset=utf-8", nil
	case "markdown":
		return (*wire.Report).WriteMarkdown, "text/markdown; charset=utf-8", nil
	}
	return nil, "", domain.InvalidField{Field: "format", Rule: "must be json, csv or markdown"}
}

func (a *api) serviceTimeline(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	return a.timelineOf(c, queries.ReportQuery{Namespace: key.Namespace, Service: key.Service})
}

func (a *api) instanceTimeline(c echo.Context) error {
	key, err := checkedKey(c)
	if err != nil {
		return err
	}
	return a.timelineOf(c, queries.ReportQuery{Namespace: key.Namespace, Service: key.Service, Instance: key.ID})
}

func (a *api) timelineOf(c echo.Context, q queries.ReportQuery) error {
	q.From, q.To = c.QueryParam("from"), c.QueryParam("to")
	timeline, err := a.Queries.Timeline(c.Request().Context(), q, c.QueryParam("limit"))
	if err != nil {
		return err
	}
	return answerJSON(c, timeline)
}

func (a *api) histogram(c echo.Context) error {
	if c.QueryParams().Has("service") && c.QueryParam("service") == "" {
		return domain.InvalidField{Field: "service", Rule: "must not be empty"} // it would pick every service
	}
	q := queries.HistogramQuery{From: c.QueryParam("from"), To: c.QueryParam("to"), Buckets: c.QueryParam("buckets")}
	q.Namespace, q.Service = chosenNamespace(c), c.QueryParam("service")
	if c.QueryParam("ns") == queries.AllNamespaces && q.Service != "" {
		return domain.InvalidField{Field: "ns", Rule: "must be one namespace where a service is given"}
	}
	for _, types := range c.QueryParams()["type"] {
		q.Types = append(q.Types, strings.Split(types, ",")...)
	}
	counted, err := a.Queries.Histogram(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return answerJSON(c, counted)
}
