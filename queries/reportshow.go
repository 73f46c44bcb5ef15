package queries

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/report"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// listedInterruptions is how many interruptions a report lists: the newest.
const listedInterruptions = 100

// showReport gives a report in the form of the API.
func showReport(r *report.Report, below int) wire.Report {
	shown := wire.Report{
		From: r.From.UTC(), To: r.To.UTC(), Seconds: r.To.Sub(r.From).Seconds(), Listened: r.Listened.Seconds(), Events: r.Events,
		Interruptions: wire.Interruptions{Count: len(r.Interruptions), Seconds: (r.To.Sub(r.From) - r.Listened).Seconds(), Newest: []wire.Interruption{}},
		Total:         showFigures(&r.Total, r.Listened), Groups: []wire.ReportGroup{},
		Below: below, BelowCount: r.BelowCount, BelowPeriods: []wire.BelowPeriod{},
		Churn:         showChurn(&r.Churn),
		StatusChanges: r.Changes, FlappingCount: r.FlappingAll, Flapping: []wire.Flapping{},
		Deaths: wire.ReportDeaths{
			Count: r.Deaths.All, Detection: showDelays(r.Deaths.Detected), Unknown: r.Deaths.Unknown, Recovered: r.Deaths.Recovered,
			Replaced: showDelays(r.Deaths.Replaced), Waiting: r.Deaths.Waiting,
		},
		DeployCount: r.DeploysMade, Deploys: []wire.Deploy{},
	}
	for _, i := range r.Interruptions[max(0, len(r.Interruptions)-listedInterruptions):] {
		shown.Interruptions.Newest = append(shown.Interruptions.Newest, wire.Interruption{From: i.From.UTC(), To: i.To.UTC(), Cause: i.Cause})
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		shown.Groups = append(shown.Groups, wire.ReportGroup{Dimension: string(g.Dimension), Name: g.Name, ReportFigures: showFigures(&g.Figures, r.Listened)})
	}
	for _, p := range r.Below {
		shown.BelowPeriods = append(shown.BelowPeriods, wire.BelowPeriod{
			From: p.From.UTC(), To: p.To.UTC(), Seconds: p.To.Sub(p.From).Seconds(), Lowest: p.Lowest, NotListening: p.Deaf.Seconds(),
		})
	}
	for _, f := range r.Flapping {
		shown.Flapping = append(shown.Flapping, wire.Flapping{Namespace: f.Key.Namespace, Service: f.Key.Service, ID: f.Key.ID, Changes: f.Changes, Times: f.Times})
	}
	for _, d := range r.Deploys {
		shown.Deploys = append(shown.Deploys, wire.Deploy{
			Namespace: d.Service.Namespace, Service: d.Service.Service, Version: d.Version, Replaces: notNil(d.Replaces),
			From: d.From.UTC(), To: d.To.UTC(), Seconds: d.To.Sub(d.From).Seconds(), Instances: d.Instances, Ready: showExtent(d.Ready),
		})
	}
	return shown
}

func showFigures(f *report.Figures, listened time.Duration) wire.ReportFigures {
	shown := wire.ReportFigures{
		Registered: showExtent(f.Registered), Ready: showExtent(f.Ready),
		RegisteredSeconds: f.RegisteredTime.Seconds(), ReadySeconds: f.ReadyTime.Seconds(), BelowSeconds: f.Below.Seconds(),
		Statuses: map[domain.Status]float64{}, Traffic: map[domain.Traffic]float64{},
	}
	shown.ReadyShare = share(shown.ReadySeconds, shown.RegisteredSeconds)
	shown.EnoughShare = share((listened - f.Below).Seconds(), listened.Seconds())
	for s, sum := range f.Statuses {
		shown.Statuses[s] = sum.Seconds()
	}
	for t, sum := range f.Traffics {
		shown.Traffic[t] = sum.Seconds()
	}
	return shown
}

// share is a part of a whole; nil: there is no whole.
func share(part, whole float64) *float64 {
	if whole == 0 {
		return nil
	}
	s := part / whole
	return &s
}

func showChurn(c *report.Churn) wire.ReportChurn {
	return wire.ReportChurn{
		Registered: c.Registered, Again: c.Again, Ended: c.Ended(), Deregistered: c.Deregistered, Lapsed: c.Lapsed, Replaced: c.Replaced,
		CheckFailed: c.CheckFailed, Crashed: c.Crashed, ExitCodes: c.ExitCodes,
	}
}

func showDelays(d report.Delays) wire.Delays {
	return wire.Delays{Count: d.Count, Min: d.Min.Seconds(), Mean: d.Mean.Seconds(), Max: d.Max.Seconds()}
}

func showExtent(e report.Extent) wire.Extent {
	return wire.Extent{Min: e.Min, Mean: e.Mean, Max: e.Max}
}
