package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

func TestAQueryIsHeldToWhatItsRouteTakes(t *testing.T) {
	for query, refused := range map[string]string{
		"":                                       "",
		"ns=prod&epoch=3":                        "",
		"namespace=prod":                         "",
		"ns=prod&namespace=prod":                 "",
		"ns=prod&namespace=test":                 "namespace",
		"ns=&namespace=prod":                     "namespace",
		"ns=":                                    "ns",
		"namespace=":                             "ns",
		"namespace=a&namespace=a":                "namespace",
		"ns=a&ns=a":                              "ns",
		"epoch=1&epoch=1":                        "epoch",
		"reson=x":                                "reson",
		"reson=x&epoch=1":                        "reson",
		"epoch":                                  "epoch",
		"epoch=":                                 "epoch",
		"tag=a&tag=":                             "tag",
		"meta.k=":                                "",
		"Epoch=1":                                "Epoch",
		"tag=a&tag=b":                            "",
		"meta.k=v&meta.l=w":                      "",
		"meta.k=v&meta.k=w":                      "meta.k",
		"meta.=v":                                "meta.",
		"meta=v":                                 "meta",
		"=x":                                     "",
		"tag%2B=x":                               "tag+",
		"tag=a&tag=%00":                          "tag",
		"tag=%ff":                                "tag",
		"tag=\xff":                               "tag",
		"tag=%C0%80":                             "tag",
		"meta.k=a%1b":                            "meta.k",
		"meta[k]=%00":                            "meta.k",
		"meta.%00=v":                             "meta.\x00",
		"tag=na%C3%AFve&meta.k=a%0Ab%09c":        "",
		"meta.*=x":                               "",
		"%6es=prod":                              "",
		"zz=1&aa=1" /* the first by the name */ : "aa",
	} {
		c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/?"+query, nil), httptest.NewRecorder())
		err := web.Params(c, "ns", "epoch", "tag+", "meta.*")
		var field domain.InvalidField
		switch named := errors.As(err, &field); {
		case query == "=x":
			if !named || field.Field != "" {
				t.Errorf("a parameter without a name gave %v", err)
			}
		case refused == "" && err != nil, refused != "" && (!named || field.Field != refused):
			t.Errorf("?%s gave %v, want the field %q refused", query, err, refused)
		}
	}
}

func TestNamespaceIsAnotherNameOfNs(t *testing.T) {
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/?namespace=prod", nil), httptest.NewRecorder())
	if err := web.Params(c, "ns"); err != nil {
		t.Fatal(err)
	}
	if got := c.QueryParam("ns"); got != "prod" {
		t.Errorf("ns is %q", got)
	}
}

func TestAQueryThatCannotBeReadIsRefused(t *testing.T) {
	for _, query := range []string{"ns=%zz", "ns=a;epoch=1", "%=1"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		err := web.Params(echo.New().NewContext(r, httptest.NewRecorder()), "ns", "epoch")
		if p := web.ProblemOf(err); p.Status != http.StatusBadRequest {
			t.Errorf("?%s gave %v", query, err)
		}
	}
}
