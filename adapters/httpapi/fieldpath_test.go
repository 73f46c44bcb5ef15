package httpapi

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestAValueOfTheWrongTypeIsNamedByItsWholePath(t *testing.T) {
	var v struct {
		Name   string `json:"name"`
		Checks []struct {
			Interval string            `json:"interval"`
			Statuses []int             `json:"statuses"`
			Headers  map[string]string `json:"headers"`
			Extra    struct {
				Deep []string `json:"deep"`
			} `json:"extra"`
		} `json:"checks"`
	}
	for document, want := range map[string]string{
		`{"name":1}`:    "name",
		`{"checks":{}}`: "checks",
		`{"checks":[{"interval":"1s"},{"interval":10}]}`:   "checks[1].interval",
		`{"checks":[{},{},{"statuses":[1,2,"3"]}]}`:        "checks[2].statuses[2]",
		`{"name":"[{","checks":[ { "statuses" : {} } ]}`:   "checks[0].statuses",
		`{"checks":[{"extra":{"deep":["a",["b"]]}}]}`:      "checks[0].extra.deep[1]",
		`{"checks":[{"headers":{"a.b":"x","c":{}}}]}`:      "checks[0].headers.c",
		`{"checks":[{"extra":{"deep":["a"]}},"a"]}`:        "checks[1]",
		`{"checks":[{"statuses":[1],"interval":[["a"]]}]}`: "checks[0].interval",
	} {
		err := json.Unmarshal([]byte(document), &v)
		var wrong *json.UnmarshalTypeError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: %v", document, err)
			continue
		}
		if got := withIndexes(wrong.Field, []byte(document), wrong.Offset); got != want {
			t.Errorf("%s: %q from %q at %d, want %q", document, got, wrong.Field, wrong.Offset, want)
		}
	}
}
