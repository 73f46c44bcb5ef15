package httpapi

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rollcall-registry/rollcall/domain"
)

// plainReports appends the items of an array of reports of checks in its plainest form (plainRegistration.read), which nearly
// every batch has. ok is false for any other body, and for an array with more than MaxBatch items: then the JSON library must
// read the body, and tells what is wrong with it.
//
// The strings point into text, but for outputs: an output may be kept for long, and would keep the whole text.
func plainReports(into []reportItem, text string) (items []reportItem, ok bool) {
	if !utf8.ValidString(text) {
		return into, false
	}
	p := plainJSON{text: text}
	items = into
	for more := p.opens('[', ']'); more && len(items)-len(into) <= MaxBatch; more = p.goesOn(']') {
		items = slices.Grow(items, 1)[:len(items)+1]
		items[len(items)-1].readPlain(&p)
	}
	p.space()
	return items, !p.failed && p.at == len(text) && len(items) > len(into) && len(items)-len(into) <= MaxBatch
}

func (i *reportItem) readPlain(p *plainJSON) {
	*i = reportItem{}
	var seen uint32
	for more := p.opens('{', '}'); more; more = p.goesOn('}') {
		switch p.name() {
		case "namespace":
			p.once(&seen, 0)
			i.Namespace = p.string()
		case "service":
			p.once(&seen, 1)
			i.Service = p.string()
		case "id":
			p.once(&seen, 2)
			i.ID = p.string()
		case "check":
			p.once(&seen, 3)
			i.Check = p.string()
		case "status":
			p.once(&seen, 4)
			i.Status = domain.Status(p.string())
		case "output":
			p.once(&seen, 5)
			i.Output = strings.Clone(p.string())
		case "epoch":
			p.once(&seen, 6)
			i.Epoch = p.number(1 << 59)
		case "owner":
			p.once(&seen, 7)
			i.Owner = p.string()
		default:
			p.failed = true
		}
	}
}
