package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/access"
)

// rulesOfNobody are rules for callers whom nothing names.
type rulesOfNobody struct {
	version   uint64
	anonymous []domain.TokenSpec
}

func (*rulesOfNobody) Verify(context.Context, []byte) *web.Caller { return nil }
func (*rulesOfNobody) Remembered([]byte) *web.Caller              { return nil }
func (*rulesOfNobody) Workload(*x509.Certificate) *web.Caller     { return nil }
func (r *rulesOfNobody) Anonymous() []domain.TokenSpec            { return r.anonymous }
func (r *rulesOfNobody) Version() uint64                          { return r.version }

// What DNS made for the rights of before is of no use once those of callers without a token change. Changes of other callers leave it.
func TestDNSKnowsWhenTheRightsOfItsCallersChange(t *testing.T) {
	table, err := access.Open(t.Context(), eventstoretest.NewMemory(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	rules := &rulesOfNobody{anonymous: []domain.TokenSpec{{Roles: []string{"reader"}}}}
	var stale atomic.Bool
	d := &directory{access: &web.Access{Tokens: table, Vouched: rules, Now: time.Now, Stale: stale.Load}}
	pay := domain.ServiceKey{Namespace: "default", Service: "pay"}
	first := d.Rights()
	if !d.may(pay) || first != d.Rights() {
		t.Fatal("rights change by themselves")
	}
	rules.version++ // a token was made
	if d.Rights() != first {
		t.Error("the change of another caller changes the rights")
	}
	stale.Store(true)
	if d.may(pay) || d.Rights() == first {
		t.Error("a node that cannot decide has the rights of before")
	}
	stale.Store(false)
	if !d.may(pay) || d.Rights() != first {
		t.Error("a node that is level again has other rights")
	}
	rules.version++
	rules.anonymous = []domain.TokenSpec{{Roles: []string{"reader"}, Services: []domain.Pattern{"shop"}}}
	if narrowed := d.Rights(); d.may(pay) || narrowed == first || narrowed == 0 {
		t.Errorf("rights that were narrowed are %d, after %d", narrowed, first)
	}
}
