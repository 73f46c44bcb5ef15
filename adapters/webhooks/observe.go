package webhooks

import "time"

// Observer is told of one webhook's deliveries.
type Observer interface {
	Waiting(recorded time.Time) // an event of that time is to be delivered
	Attempted(result string)    // an attempt was made: delivered, rejected or failed
	End()                       // the webhook has no deliveries any more
}

type unobserved struct{}

func (unobserved) Waiting(time.Time) {}
func (unobserved) Attempted(string)  {}
func (unobserved) End()              {}

// maxObserved is how many webhooks have an observer of their own. The attempts of the other webhooks are counted together:
// nobody can use a metric with 50,000 values of one label.
const maxObserved = 200

// Others is the name under which the other webhooks are observed.
const Others = "others"

// observers are the observers of the webhooks that delivered first. A webhook that fails takes the place of a webhook that
// does not fail, so that failing webhooks are seen.
type observers struct {
	observe func(webhook string) Observer
	by      map[string]*observed
	others  Observer
}

type observed struct {
	Observer
	failing bool
}

func newObservers(observe func(string) Observer) observers {
	if observe == nil {
		observe = func(string) Observer { return unobserved{} }
	}
	return observers{observe: observe, by: make(map[string]*observed)}
}

// waiting tells of an event that is to be delivered to a webhook.
func (o *observers) waiting(webhook string, recorded time.Time) {
	if own := o.of(webhook, false); own != nil {
		own.Waiting(recorded)
	}
}

// attempted tells of an attempt.
func (o *observers) attempted(webhook, result string) {
	own := o.of(webhook, result == failed)
	if own == nil {
		if o.others == nil {
			o.others = o.observe(Others)
		}
		o.others.Attempted(result)
		return
	}
	own.failing = result == failed
	own.Attempted(result)
}

// of is the webhook's own observer; nil: the webhook has no observer.
func (o *observers) of(webhook string, failing bool) *observed {
	own := o.by[webhook]
	if own == nil && len(o.by) >= maxObserved && failing {
		for other, theirs := range o.by {
			if !theirs.failing {
				o.end(other)
				break
			}
		}
	}
	if own == nil && len(o.by) < maxObserved {
		own = &observed{Observer: o.observe(webhook)}
		o.by[webhook] = own
	}
	return own
}

// end says that a webhook has no deliveries any more.
func (o *observers) end(webhook string) {
	if own := o.by[webhook]; own != nil {
		delete(o.by, webhook)
		own.End()
	}
}

// endAll ends what is observed.
func (o *observers) endAll() {
	for webhook := range o.by {
		o.end(webhook)
	}
	if o.others != nil {
		o.others.End()
		o.others = nil
	}
}
