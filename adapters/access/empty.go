package access

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// narrowing are the fields that stand for everything when they are left out.
var narrowing = map[string]bool{"namespaces": true, "services": true, "instances": true, "networks": true, "algorithms": true}

// checkEmpty refuses a narrowing field that names nothing. The program that wrote the file had nothing to fill in, and the field would
// grant everything. A null in a list is refused because the decoder leaves it out.
func checkEmpty(n *yaml.Node) error {
	for i, value := range n.Content {
		is := value
		if is.Kind == yaml.AliasNode { // what it stands for is checked at its own place, but for the name of the field
			is = is.Alias
		}
		switch {
		case n.Kind == yaml.SequenceNode && isNull(is):
			return atLine{value.Line, errors.New("a list must not hold null")}
		case n.Kind == yaml.MappingNode && i%2 == 1 && narrowing[n.Content[i-1].Value] && (isNull(is) || is.Kind == yaml.SequenceNode && len(is.Content) == 0):
			return atLine{value.Line, fmt.Errorf("%s must not be empty: leave the field out to narrow nothing", n.Content[i-1].Value)}
		}
		if err := checkEmpty(value); err != nil {
			return err
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
