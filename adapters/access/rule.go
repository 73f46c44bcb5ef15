package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/domain"
)

// Rights is what a rule grants. Namespaces, services and instances narrow the roles as they narrow a token's, and may use
// what the rule's conditions capture.
type Rights struct {
	Roles      []string `yaml:"roles"`
	Namespaces []string `yaml:"namespaces"`
	Services   []string `yaml:"services"`
	Instances  []string `yaml:"instances"`
	Networks   []string `yaml:"networks"` // addresses at which the rule fits, as 10.0.0.0/8; none: all
}

// maxRights is how many rights the rules give to one caller at most; what comes later is left out.
const maxRights = 64

// check holds the rights to the limits of a token. names are what the rule captures.
func (r Rights) check(names []string) (field string, err error) {
	example := captures{}
	for _, name := range names {
		example[name] = "x"
	}
	for _, list := range []struct {
		field     string
		templates []string
	}{{"namespaces", r.Namespaces}, {"services", r.Services}, {"instances", r.Instances}} {
		for _, template := range list.templates {
			uses, err := used(template)
			if err != nil {
				return list.field, err
			}
			for _, name := range uses {
				if !slices.Contains(names, name) {
					return list.field, unknownCapture(name)
				}
			}
		}
	}
	for _, role := range r.Roles {
		if domain.ValidateRoleName("roles", role) != nil {
			return "roles", fmt.Errorf("must be names of roles, not %q", role)
		}
	}
	if invalid, is := r.spec(example).Validate().(domain.InvalidField); is {
		list, _, _ := strings.Cut(invalid.Field, "[") // the file's line tells which element it is
		return list, errors.New(invalid.Rule)
	}
	return "", nil
}

// spec is the rights with captures in the places of their names.
func (r Rights) spec(c captures) domain.TokenSpec {
	fill := func(templates []string) (all []domain.Pattern) {
		for _, template := range templates {
			all = append(all, domain.Pattern(c.fill(template)))
		}
		return all
	}
	return domain.TokenSpec{Roles: r.Roles, Namespaces: fill(r.Namespaces), Services: fill(r.Services), Instances: fill(r.Instances), Networks: r.Networks}
}

// maxDepth is how deep a claim may be within others.
const maxDepth = 8

// condition asks for a claim, at a path of names, whose value, or one of whose values, matches one of the texts.
type condition struct {
	path []string
	any  []*text
}

// conditions reads the claims of a rule: a mapping of names to a text, to a list of texts, or to a mapping of the names
// within.
func conditions(n *yaml.Node, path []string) (all []condition, err error) {
	if len(path) > maxDepth {
		return nil, atLine{n.Line, fmt.Errorf("claims must not be nested deeper than %d", maxDepth)}
	}
	switch n.Kind {
	case yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			within := append(slices.Clone(path), n.Content[i].Value)
			if seen[n.Content[i].Value] { // the decoder looks for this only where it knows the fields
				return nil, atLine{n.Content[i].Line, fmt.Errorf("claims.%s must be given once", strings.Join(within, "."))}
			}
			seen[n.Content[i].Value] = true
			found, err := conditions(n.Content[i+1], within)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		return all, nil
	case yaml.SequenceNode, yaml.ScalarNode:
		values := n.Content
		if n.Kind == yaml.ScalarNode {
			values = []*yaml.Node{n}
		}
		c := condition{path: path}
		for _, v := range values {
			if v.Kind != yaml.ScalarNode || v.Value == "" || isNull(v) {
				return nil, atLine{v.Line, fmt.Errorf("claims.%s must be a text, or a list of texts", strings.Join(path, "."))}
			}
			t, err := parseText(v.Value)
			if err != nil {
				return nil, atLine{v.Line, fmt.Errorf("claims.%s %w", strings.Join(path, "."), err)}
			}
			if len(c.any) > 0 && !sameNames(c.any[0].names, t.names) {
				return nil, atLine{v.Line, fmt.Errorf("claims.%s must capture the same names in each text of a list", strings.Join(path, "."))}
			}
			c.any = append(c.any, t)
		}
		if len(c.any) > 0 && len(path) > 0 {
			return []condition{c}, nil
		}
	}
	return nil, atLine{n.Line, errors.New("claims must be a mapping of names to texts, without aliases")}
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// rule grants rights to the tokens whose claims meet all of its conditions.
type rule struct {
	conditions []condition
	rights     Rights
}

// names are what the conditions capture.
func (r *rule) names() (all []string) {
	for _, c := range r.conditions {
		all = append(all, c.any[0].names...)
	}
	return all
}

// grant gives the rights of a token with these claims, once for each way in which the claims meet the conditions: a claim with
// several values may meet a condition more than once.
func (r *rule) grant(claims map[string]any) (all []domain.TokenSpec) {
	ways := []captures{nil}
	for _, c := range r.conditions {
		values := valuesAt(claims, c.path)
		var next []captures
		for _, way := range ways {
			next = append(next, c.meet(way, values)...)
		}
		ways = next[:min(len(next), maxRights)]
	}
	for _, way := range ways {
		all = append(all, r.rights.spec(way))
	}
	return all
}

// meet gives the ways in which a claim's values meet the condition, each with what was captured before.
func (c *condition) meet(way captures, values []string) (ways []captures) {
	for _, value := range values {
		for _, t := range c.any {
			joined, ok := t.join(way, value)
			if !ok {
				continue
			}
			if ways = append(ways, joined); len(t.names) == 0 {
				return ways // another value would give the same
			}
			break // the other texts capture the same names
		}
	}
	return ways
}

// valuesAt are the texts of the claim at a path: one, or those of a list. Other kinds of values have none.
func valuesAt(claims map[string]any, path []string) (values []string) {
	value := claims[path[0]]
	if len(path) > 1 {
		within, _ := value.(map[string]any)
		return valuesAt(within, path[1:])
	}
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	for _, v := range list {
		switch v := v.(type) {
		case string:
			values = append(values, v)
		case bool:
			values = append(values, strconv.FormatBool(v))
		case json.Number:
			values = append(values, v.String())
		}
	}
	return values
}
