//go:build story

// Package main tells a story through a Go client that oapi-codegen makes of the API's description (docs/api). The module has
// the tools that read the description as others do, so that the product's go.mod does not. Tests of cmd/rollcall run them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/httpapi/generated/build/rollcall"
)

// main ends with a panic at the first thing that is not as the description says.
func main() {
	ctx := context.Background()
	c, err := rollcall.NewClientWithResponses(os.Args[1])
	must(err)

	// The fewest fields make an instance that may get traffic.
	registered, err := c.RegisterInstanceWithResponse(ctx, "checkout", "go-1", &rollcall.RegisterInstanceParams{}, rollcall.Registration{Address: "127.0.0.1"})
	must(err)
	check(registered.JSON201 != nil && registered.JSON201.Epoch == 1, "a first registration is answered with 201 and epoch 1", registered.Body)
	ready := true
	list, err := c.ListInstancesWithResponse(ctx, "checkout", &rollcall.ListInstancesParams{Ready: &ready, After: &registered.JSON201.Position})
	must(err)
	check(list.JSON200 != nil && len(list.JSON200.Instances) == 1 && list.JSON200.Instances[0].Status == "passing", "the instance is ready", list.Body)

	// Changes are followed from here on.
	changes := follow(ctx, c, registered.JSON201.Position)

	// A batch of heartbeats of which one fails.
	var names rollcall.HeartbeatBatch
	for _, name := range []string{"checkout/go-1", "checkout/nobody"} {
		var item rollcall.HeartbeatBatch_Item
		must(item.FromHeartbeatName(name))
		names = append(names, item)
	}
	beats, err := c.PostHeartbeatsWithResponse(ctx, &rollcall.PostHeartbeatsParams{}, names)
	must(err)
	told(beats.JSON200, beats.Body, "urn:rollcall:problem:unknown-instance")

	// A batch of commands of which one fails.
	var commands rollcall.CommandBatch
	var report, wrong rollcall.Command
	must(report.FromReportHealth(rollcall.ReportHealth{Service: "checkout", Id: "go-1", Status: "warning"}))
	must(wrong.FromRegisterInstance(rollcall.RegisterInstance{Service: "checkout", Id: "go-2", Address: "not an address"}))
	done, err := c.PostCommandsWithResponse(ctx, nil, append(commands, report, wrong))
	must(err)
	told(done.JSON200, done.Body, "urn:rollcall:problem:invalid-field")

	// A problem has a type and names the field.
	refused, err := c.RegisterInstanceWithResponse(ctx, "checkout", "go-1", &rollcall.RegisterInstanceParams{}, rollcall.Registration{Address: "not an address"})
	must(err)
	problem := refused.ApplicationproblemJSON422
	check(problem != nil && problem.Type == "urn:rollcall:problem:invalid-field" && problem.Field != nil && *problem.Field == "address", "the problem names the field", refused.Body)

	reason := "the story ends"
	gone, err := c.DeregisterInstanceWithResponse(ctx, "checkout", "go-1", &rollcall.DeregisterInstanceParams{Reason: &reason})
	must(err)
	check(gone.JSON200 != nil, "it is deregistered", gone.Body)
	missing, err := c.GetInstanceWithResponse(ctx, "checkout", "go-1", &rollcall.GetInstanceParams{})
	must(err)
	check(missing.ApplicationproblemJSON410 != nil && missing.ApplicationproblemJSON410.Event.Type == "InstanceDeregistered", "it is gone, and the event says how", missing.Body)

	for _, want := range []string{"HealthChanged", "InstanceDeregistered"} {
		change := <-changes
		check(change.Type == want && change.Id == "go-1", "the stream tells of "+want, []byte(change.Type))
	}

	// The past still has it.
	at := string(registered.JSON201.Position)
	past, err := c.GetCatalogWithResponse(ctx, &rollcall.GetCatalogParams{At: &at})
	must(err)
	check(past.JSON200 != nil && len(past.JSON200.Services) == 1, "the catalog at that position has the service", past.Body)

	// History comes in pages.
	var types []string
	limit, order := 1, rollcall.ListInstanceHistoryParamsOrderOldest
	for params := (&rollcall.ListInstanceHistoryParams{Limit: &limit, Order: &order}); ; {
		page, err := c.ListInstanceHistoryWithResponse(ctx, "checkout", "go-1", params)
		must(err)
		check(page.JSON200 != nil, "there is a page", page.Body)
		for _, entry := range page.JSON200.Entries {
			types = append(types, entry.Type)
		}
		if page.JSON200.Next == nil {
			break
		}
		params.Cursor = page.JSON200.Next
	}
	check(strings.Join(types, " ") == "InstanceRegistered HealthChanged InstanceDeregistered", "the history is whole", []byte(strings.Join(types, " ")))

	// An event's type says what its data is.
	service := "checkout"
	log, err := c.ClientInterface.ListEvents(ctx, &rollcall.ListEventsParams{Service: &service}) // each line is an Event
	must(err)
	reasons := 0
	for lines := bufio.NewScanner(log.Body); lines.Scan(); {
		line := lines.Bytes()
		var event rollcall.Event
		must(json.Unmarshal(line, &event))
		value, err := event.ValueByDiscriminator()
		must(err)
		if deregistered, ok := value.(rollcall.InstanceDeregisteredEvent); ok {
			check(deregistered.Data.Reason != nil && *deregistered.Data.Reason == reason, "the reason is kept", line)
			reasons++
		}
	}
	check(reasons == 1, "the log has the end", nil)
}

// follow gives the changes of a service behind a position.
func follow(ctx context.Context, c *rollcall.ClientWithResponses, after rollcall.Position) <-chan rollcall.Change {
	last := string(after)
	stream, err := c.ClientInterface.StreamService(ctx, "checkout", &rollcall.StreamServiceParams{LastEventID: &last})
	must(err)
	check(stream.StatusCode == http.StatusOK, "the stream begins", nil)
	changes := make(chan rollcall.Change) // never closed: the story ends first
	go func() {
		for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var change rollcall.Change
				must(json.Unmarshal([]byte(data), &change))
				changes <- change
			}
		}
	}()
	return changes
}

// told checks that the first item of a batch succeeded, and that the second failed with a type of problem.
func told(result *rollcall.BatchResult, body []byte, problem string) {
	check(result != nil && len(result.Succeeded) == 1 && result.Succeeded[0].Index == 0 && result.Succeeded[0].Id == "go-1", "the first item succeeded", body)
	check(len(result.Failed) == 1 && result.Failed[0].Index == 1 && result.Failed[0].Problem.Type == problem, "the second item failed", body)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, what string, got []byte) {
	if !holds {
		panic(fmt.Sprintf("not so: %s: %s", what, got))
	}
}
