package probes

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A node that is cut off from the network sees no answer from anybody. That says nothing of the targets, so it must not
// make the fleet critical. A failure without an answer is therefore a suspicion at first: before it is reported, a random
// sample of the node's checks is looked at. If most of the sample get no answer, and that makes many checks, the node
// holds: it reports no failure without an answer until most targets answer again. The sample is drawn among all checks that
// are not critical, so that it says what share of the targets is away, however many suspicions there are. A target that
// answers, even with an error, shows that the network is there.
//
// A hold ends after a while in any case: then most of the fleet is really away.

const (
	holdAtLeast = 10 // checks without an answer
	sampleSize  = 64
	freshLook   = time.Second            // an answer that did not come in a look that began this short before is not asked for again
	trialEvery  = 250 * time.Millisecond // from the beginning of a trial to that of the next
	trialFor    = 3 * time.Second        // a sample that gave no answer in this time gives none
	judgeEvery  = time.Second            // while it is held
)

// DefaultHold is the longest time for which a node holds failures back.
const DefaultHold = 5 * time.Minute

// hold is the standing of a node's failures.
type hold struct {
	suspects map[*check]suspicion
	trial    *trial
	tried    time.Time // when the newest trial began
	on       bool
	worn     bool // a hold ended by its bound, and most targets have not answered since
	since    time.Time
	ended    time.Time // when the newest hold ended because most targets answered again
	judged   time.Time
}

type suspicion struct {
	words string
	took  time.Duration
}

// trial is a sample that is being looked at.
type trial struct {
	began      time.Time
	sample     []*check
	candidates int // checks that are not critical
	size       int // of the sample
	silent     int // of these, those without an answer
	waiting    int // of these, those whose look has not ended
}

// suspect notes a failure without an answer. REQUIRES: p is locked, as for the methods below.
func (p *Prober) suspect(c *check, words string, took time.Duration) {
	if c.reporting {
		return
	}
	if p.hold.suspects == nil {
		p.hold.suspects = make(map[*check]suspicion)
	}
	p.hold.suspects[c] = suspicion{words, took}
}

// judge moves the trial and the hold on.
func (p *Prober) judge(now time.Time) {
	h := &p.hold
	switch {
	case h.on || h.worn:
		if now.Sub(h.judged) >= judgeEvery {
			h.judged = now
			p.judgeHold(now)
		}
	case h.trial != nil:
		p.judgeTrial(now)
	case len(h.suspects) > 0 && now.Sub(h.tried) >= trialEvery:
		h.tried = now
		p.beginTrial(now)
		p.judgeTrial(now)
	}
	if h.worn {
		p.release()
	}
}

// beginTrial draws a sample of the checks that are not critical, and looks at each that did not fail to answer just now. An
// answer from before the trial says nothing of the network as it is now.
func (p *Prober) beginTrial(now time.Time) {
	t := &trial{began: now}
	p.hold.trial = t
	t.sample, t.candidates = p.draw()
	if t.candidates < holdAtLeast {
		t.sample = nil
	}
	for _, c := range t.sample {
		if !c.looking && c.silent && p.sinceLook(c, now) < freshLook+c.test.timeout {
			t.silent++
			continue
		}
		if !c.looking {
			p.unqueue(c)
			p.queueFirst(c, 0)
		}
		c.tried = true
		t.waiting++
	}
	t.size = len(t.sample)
}

// draw gives a random sample of the checks that are not critical, and about how many such checks there are.
func (p *Prober) draw() (sample []*check, candidates int) {
	if len(p.mine) <= 8*sampleSize {
		for _, c := range p.mine {
			if c.status != critical {
				sample = append(sample, c)
			}
		}
		rand.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
		return sample[:min(sampleSize, len(sample))], len(sample)
	}
	drawn, hits := 0, 0
	for ; drawn < 8*sampleSize && len(sample) < sampleSize; drawn++ {
		c := p.mine[rand.IntN(len(p.mine))]
		if c.status == critical {
			continue
		}
		hits++
		if !slices.Contains(sample, c) {
			sample = append(sample, c)
		}
	}
	return sample, len(p.mine) * hits / drawn
}

// saw counts a look for the trial.
func (h *hold) saw(c *check) {
	if !c.tried {
		return
	}
	c.tried = false
	if h.trial == nil {
		return
	}
	h.trial.waiting--
	if c.silent {
		h.trial.silent++
	}
}

// left takes a check from the trial whose look says nothing.
func (h *hold) left(c *check) {
	if !c.tried {
		return
	}
	c.tried = false
	if h.trial != nil {
		h.trial.waiting--
		h.trial.size--
	}
}

// forget drops a suspicion.
func (h *hold) forget(c *check) {
	h.left(c)
	delete(h.suspects, c)
}

// judgeTrial ends a trial whose sample has answered, or had its time.
func (p *Prober) judgeTrial(now time.Time) {
	h := &p.hold
	t := h.trial
	if t.waiting > 0 && now.Sub(t.began) < trialFor {
		return
	}
	h.trial = nil
	for _, c := range t.sample {
		c.tried = false
	}
	if !massive(t.silent+t.waiting, t.size, t.candidates) {
		p.release()
		return
	}
	h.on, h.since, h.judged = true, now, now
	p.opts.Logger.Warn("most probes get no answer: this node may be cut off, so it reports no failure",
		"sample", t.size, "unanswered", t.silent+t.waiting, "checks", t.candidates)
}

// massive says whether so many checks get no answer that the cause may be on this side.
func massive(silent, size, candidates int) bool {
	return size > 0 && 2*silent > size && silent*candidates >= holdAtLeast*size
}

// judgeHold ends a hold when most targets answer again, or after its longest time. After a recovery each check must fail
// anew, because its newest look may be from before, and a look that is under way says nothing if it gets no answer.
func (p *Prober) judgeHold(now time.Time) {
	h := &p.hold
	silent, candidates := 0, 0
	for _, c := range p.mine {
		if c.status == critical {
			continue
		}
		candidates++
		if c.silent {
			silent++
		}
	}
	recovered := !massive(silent, candidates, candidates)
	switch {
	case recovered && h.on:
		h.on, h.ended = false, now
		p.opts.Logger.Warn("most probes get answers again: this node reports failures", "held", now.Sub(h.since).Round(time.Second).String())
		h.suspects = nil
		for _, c := range p.mine {
			if c.failing {
				c.beginAnew()
			}
		}
	case recovered:
		h.worn = false
	case h.on && now.Sub(h.since) >= p.opts.HoldFor:
		h.on, h.worn = false, true
		p.opts.Logger.Warn("most probes still get no answer: this node reports the failures now", "held", now.Sub(h.since).Round(time.Second).String(), "checks", len(h.suspects))
	}
}

// release reports all suspicions.
func (p *Prober) release() {
	for c, s := range p.hold.suspects {
		p.report(c, critical, s.words, s.took)
	}
	p.hold.suspects = nil
}
