package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

// The library reads each of these as something that the client did not write.
func TestABodyThatWouldBeMendedIsRefusedByItsField(t *testing.T) {
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	for body, want := range map[string]string{
		`{"address":"::1","address":"::2"}`:                                "address must be given once",
		`{"address":"::1","ports":{"a":1,"b":2,"a":3}}`:                    "ports.a must be given once",
		`{"metadata":{"a":"1","\u0061":"2"}}`:                              "metadata.a must be given once",
		`{"metadata":{` + strings.Join(append(many, many[39]), ",") + `}}`: "metadata.k39 must be given once",
		`{"Address":"::1"}`:                                                "Address is not a known field",
		`{"status":"passing", "STATUS":"critical"}`:                        "STATUS is not a known field",
		`{"zone":"\ud800"}`:                                                "zone must not hold half of a surrogate pair",
		`{"zone":"\udc00\ud800"}`:                                          "zone must not hold half of a surrogate pair",
		`{"zone":"\ud800\\udc00"}`:                                         "zone must not hold half of a surrogate pair",
		`{"tags":["a","\uD83D\u0041"]}`:                                    "tags[1] must not hold half of a surrogate pair",
		`{"metadata":{"\ud800":"a"}}`:                                      "metadata.\ufffd must not hold half of a surrogate pair",
		`{"metadata":{"a":null}}`:                                          "metadata.a must not be null",
		`{"tags":[ null ]}`:                                                "tags[0] must not be null",
		` null `:                                                           "body must not be null",
	} {
		var into registration
		err := DecodeStrict([]byte(body), &into)
		var refused domain.InvalidField
		if !errors.As(err, &refused) || refused.Error() != want {
			t.Errorf("%s gave %v, want %s", body, err, want)
		}
	}
}

func TestABodyThatTheLibraryReadsAsItIsIsTaken(t *testing.T) {
	for _, body := range []string{
		`{"zone":null,"ttl":null,"tags":null,"status":null,"weight":null,"metadata":null}`,
		`{"zone":"\ud83d\ude00 \\ud800 \"","ttl":"1s","weight":1,"tags":[],"ports":{},"epoch":7}`,
		` { "metadata" : { "a" : "b" , "A" : "{\"a\":1,\"a\":2}" } , "tags" : [ "x" , "y" ] } `,
	} {
		if err := DecodeStrict([]byte(body), new(registration)); err != nil {
			t.Errorf("%s was refused: %v", body, err)
		}
	}
}

func FuzzEveryBodyIsReadToItsEnd(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e+3,true,false,null,"\ud800\"",{}],"b":{"a":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var into map[string]any
		if json.Unmarshal(body, &into) != nil {
			t.Skip()
		}
		d := document{rest: body}
		if _, rule := d.value(nil, true); rule == "" {
			if d.space(); len(d.rest) > 0 {
				t.Errorf("%q is left of %q", d.rest, body)
			}
		}
	})
}
