package domain

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// What is read without decoding is what decoding reads, and what Encode writes is read without decoding.
func TestEventsInThePlainFormAreReadAsDecodingReadsThem(t *testing.T) {
	same := func(t rapid.TB, data []byte) {
		var health HealthChanged
		var traffic TrafficChanged
		if e, ok := plainHealth(data); ok {
			if err := json.Unmarshal(data, &health); err != nil || !reflect.DeepEqual(e, health) {
				t.Errorf("%s is read as %+v, and decodes to %+v, %v", data, e, health, err)
			}
		}
		if e, ok := plainTraffic(data); ok {
			if err := json.Unmarshal(data, &traffic); err != nil || !reflect.DeepEqual(e, traffic) {
				t.Errorf("%s is read as %+v, and decodes to %+v, %v", data, e, traffic, err)
			}
		}
	}
	for _, data := range []string{
		`{"epoch":01,"from":"passing","to":"warning","source":"client"}`, `{"epoch":18446744073709551616,"from":"passing","to":"warning","source":"client"}`,
		`{"epoch":,"from":"passing","to":"warning","source":"client"}`, `{"epoch":-1,"from":"passing","to":"warning","source":"client"}`, `{"epoch":1,"from":"a","to":"b"}`,
		`{"epoch":1,"from":"passing","to":"warning","source":"client","output":"a\"b"}`, `{"epoch":1,"from":"passing","to":"warning","source":"client","output":"a\`,
		"{\"epoch\":1,\"from\":\"a\",\"to\":\"b\",\"reason\":\"\x80\"}", "{\"epoch\":1,\"from\":\"a\",\"to\":\"b\",\"reason\":\"\n\"}", `{"epoch":1,"from":"a","to":"b","reason":"x"} `,
		`{"epoch":1,"from":"a","to":"b","reason":"x"}}`, `{"epoch":1,"from":"passing","to":"warning","source":"client","output":"x","lapsed":true}`, ``, `{`, `{"epoch":1`,
	} {
		same(t, []byte(data))
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "latency over 300 ms", `a "b"`, `\`, "ähm", "<b>", "\x01", `","to":"critical`})
		health := HealthChanged{Epoch: rapid.Uint64().Draw(t, "epoch"), From: Status(text.Draw(t, "from")), To: rapid.SampledFrom(statuses).Draw(t, "to"),
			Source: rapid.SampledFrom(sources).Draw(t, "source"), Output: text.Draw(t, "output"), Lapsed: rapid.Bool().Draw(t, "lapsed")}
		traffic := TrafficChanged{Epoch: health.Epoch, From: Traffic(text.Draw(t, "from")), To: rapid.SampledFrom(traffics).Draw(t, "traffic"), Reason: text.Draw(t, "reason")}
		for _, e := range []Event{health, traffic} {
			data, err := Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			same(t, data)
			if len(data) > 0 {
				data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
				same(t, data)
			}
		}
	})
	for _, e := range []Event{
		HealthChanged{Epoch: 3, From: Passing, To: Critical, Source: FromClient, Output: "out of memory"}, HealthChanged{Epoch: 3, From: Passing, To: Critical, Source: FromLease},
		TrafficChanged{Epoch: 1, From: Serving, To: Draining, Reason: "deploy"}, TrafficChanged{Epoch: 1, From: Draining, To: Serving},
	} {
		data, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		_, health := plainHealth(data)
		_, traffic := plainTraffic(data)
		if health == traffic {
			t.Errorf("%s is not read in the plain form", data)
		}
	}
}
