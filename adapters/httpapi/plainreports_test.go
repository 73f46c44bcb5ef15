package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var plainReportBodies = []string{
	`[{"service":"web","id":"a","check":"worker"}]`, ` [ { "service" : "web" , "id":"a","check":"worker"} ,` + "\n" + `{"service":"web","id":"b","check":"worker"}] `,
	`[{"namespace":"shop","service":"web","id":"a","check":"worker","status":"critical","output":"queue is full, é","epoch":3,"owner":"o"}]`,
	`[{}]`, `[{"status":""}]`, `[{"epoch":0}]`,
}

var otherReportBodies = []string{
	``, `[]`, `null`, `{}`, `[`, `[{"service":"web"}`, `[{"service":"web"},]`, `[{"service":"web"}] x`, `[{"service":"web"}{"service":"web"}]`, `[null]`, `["web/a"]`, `[[]]`,
	`[{"service":null}]`, `[{"Service":"web"}]`, `[{"service":"a","service":"b"}]`, `[{"service":"a\u0041"}]`, "[{\"output\":\"a\nb\"}]", "[{\"output\":\"\xff\"}]", `[{"output":"a\nb"}]`,
	`[{"epoch":1.0}]`, `[{"epoch":-1}]`, `[{"epoch":"1"}]`, `[{"epoch":01}]`, `[{"epoch":18446744073709551615}]`, `[{"unknown":1}]`, `[{"checks":[]}]`, `[{"id":7}]`, `[{"service":"web",}]`,
}

// What is read as plain reports is what the JSON library reads.
func FuzzPlainReports(f *testing.F) {
	for _, body := range append(plainReportBodies, otherReportBodies...) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := plainReports(nil, string(body))
		if !ok {
			return
		}
		split, err := elements[json.RawMessage](body)
		if err != nil {
			t.Fatalf("%s was read as %+v, and is %v", body, got, err)
		}
		want := make([]reportItem, len(split))
		for i, item := range split {
			if err := DecodeStrict(item, &want[i]); err != nil {
				t.Fatalf("%s was read as %+v, and item %d is %v", body, got, i, err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, and was read as %+v", body, want, got)
		}
	})
}

func TestUsualReportsArePlain(t *testing.T) {
	for _, body := range plainReportBodies {
		if _, ok := plainReports(nil, body); !ok {
			t.Errorf("%s is not plain", body)
		}
	}
	for _, body := range otherReportBodies {
		if _, ok := plainReports(nil, body); ok {
			t.Errorf("%s is plain", body)
		}
	}
	for items, want := range map[int]bool{MaxBatch: true, MaxBatch + 1: false} {
		body := "[" + strings.TrimSuffix(strings.Repeat(`{"id":"a"},`, items), ",") + "]"
		// Items that a pool kept from an earlier body are not read again.
		if got, ok := plainReports(make([]reportItem, 0, 3), body); ok != want || ok && (len(got) != items || fmt.Sprint(got[0]) != fmt.Sprint(got[items-1])) {
			t.Errorf("%d items are plain: %v", items, ok)
		}
	}
}
