package powershell

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// value works out an expression.
func (r *run) value(n node) (any, error) {
	parts := n.parts()
	switch n.kind {
	case "variable":
		return r.lookup(r.variable(n)), nil
	case "integer_literal":
		return strconv.Atoi(r.of(n))
	case "generic_token", "command_name":
		return r.of(n), nil
	case "string_literal":
		return r.text(n)
	case "parenthesized_expression":
		list, err := r.pipeline(parts[1])
		if r.isArray(parts[1]) {
			return list, err
		}
		return single(list), err
	case "sub_expression":
		list, err := r.statements(n)
		return single(list), err
	case "array_expression":
		list, err := r.statements(n)
		if list == nil {
			list = []any{}
		}
		return list, err
	case "array_literal_expression":
		return r.listOf(parts)
	case "hash_literal_expression":
		return r.table(n)
	case "script_block_expression":
		return n, nil
	case "member_access":
		return r.member(n)
	case "element_access":
		return r.element(n)
	case "invokation_expression":
		return r.invoke(n)
	}
	return r.operation(n)
}

// text is a string, in which what double quotes let in is worked out.
func (r *run) text(n node) (any, error) {
	inner := n.children[0]
	text := r.of(n)
	if inner.kind == "verbatim_string_characters" {
		return strings.ReplaceAll(text[1:len(text)-1], "''", "'"), nil
	}
	if inner.kind != "expandable_string_literal" || strings.Contains(text, "`") {
		return nil, r.unknown(n)
	}
	var b strings.Builder
	at := inner.start + 1
	for _, child := range inner.children {
		if child.kind != "variable" && child.kind != "sub_expression" {
			continue
		}
		value, err := r.value(child)
		if err != nil {
			return nil, err
		}
		b.WriteString(r.Script.text[at:child.start] + Text(value))
		at = child.end
	}
	return b.String() + r.Script.text[at:inner.end-1], nil
}

func (r *run) listOf(parts []node) ([]any, error) {
	list := []any{}
	for _, part := range parts {
		if part.kind == "," {
			continue
		}
		value, err := r.value(part)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

func (r *run) table(n node) (any, error) {
	t := &Table{}
	for _, entry := range n.only("hash_literal_body").parts() {
		parts := entry.parts()
		list, err := r.pipeline(parts[2])
		if err != nil {
			return nil, err
		}
		value := single(list)
		if r.isArray(parts[2]) {
			value = list
		}
		key := r.of(parts[0])
		if parts[0].kind == "string_literal" {
			text, err := r.text(parts[0])
			if err != nil {
				return nil, err
			}
			key = Text(text)
		}
		t.Set(key, value)
	}
	return t, nil
}

// holderOf is what has the member that is asked for, and the member's name.
func (r *run) holderOf(n node) (holder any, name string, err error) {
	if holder, err = r.value(n.parts()[0]); err == nil {
		name, err = r.memberName(n)
	}
	return holder, name, err
}

func (r *run) member(n node) (any, error) {
	holder, name, err := r.holderOf(n)
	if err != nil {
		return nil, err
	}
	isCount := strings.EqualFold(name, "Count") // which each value has: a list of one, or of none
	switch holder := holder.(type) {
	case nil:
		if isCount {
			return 0, nil
		}
		return nil, nil
	case *Table:
		switch {
		case holder.Has(name):
			return holder.Get(name), nil
		case strings.EqualFold(name, "Keys"):
			keys := []any{}
			for _, key := range holder.Names() {
				keys = append(keys, key)
			}
			return keys, nil
		case isCount:
			return len(holder.Names()), nil
		}
		return nil, nil
	case []any:
		if isCount {
			return len(holder), nil
		}
	case string:
		if isCount {
			return 1, nil
		}
		if strings.EqualFold(name, "Length") {
			return len(holder), nil
		}
	}
	return nil, r.unknown(n)
}

func (r *run) element(n node) (any, error) {
	holder, name, err := r.holderOf(n)
	if err != nil {
		return nil, err
	}
	if table, is := holder.(*Table); is {
		return table.Get(name), nil
	}
	return nil, r.unknown(n)
}

// invoke calls the few methods that are known.
func (r *run) invoke(n node) (any, error) {
	callee := n.parts()[0]
	args, err := r.listOf(n.only("argument_list").only("argument_expression_list").parts())
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(r.of(n.only("member_name")))
	if callee.kind == "type_literal" {
		switch strings.ToLower(r.of(callee)) + name {
		case "[net.networkcredential]new":
			if hidden, is := args[1].(secure); is {
				return NewTable("Password", string(hidden)), nil
			}
		case "[regex]escape":
			return regexp.QuoteMeta(Text(args[0])), nil
		}
		return nil, r.unknown(n)
	}
	holder, err := r.value(callee)
	if text, is := holder.(string); err == nil && is && name == "trim" && len(args) == 0 {
		return strings.TrimSpace(text), nil
	}
	if err != nil {
		return nil, err
	}
	return nil, r.unknown(n)
}

// operation works out what stands around operators.
func (r *run) operation(n node) (any, error) {
	parts := n.parts()
	switch {
	case n.kind == "cast_expression" && (strings.EqualFold(r.of(parts[0]), "[ordered]") || strings.EqualFold(r.of(parts[0]), "[pscustomobject]")):
		return r.value(parts[1])
	case n.kind == "expression_with_unary_operator" && len(parts) == 1:
		return r.value(parts[0])
	case n.kind == "expression_with_unary_operator" && parts[0].kind == "-not":
		value, err := r.value(parts[1])
		return !isTrue(value), err
	case n.kind == "expression_with_unary_operator" && parts[0].kind == "-":
		value, err := r.value(parts[1])
		if number, is := value.(int); is {
			return -number, err
		}
	case len(parts) == 3:
		return r.binary(n, strings.ToLower(r.of(parts[1])))
	}
	return nil, r.unknown(n)
}

func (r *run) binary(n node, operator string) (any, error) {
	parts := n.parts()
	left, err := r.value(parts[0])
	if err != nil {
		return nil, err
	}
	switch {
	case operator == "-and" && !isTrue(left):
		return false, nil
	case operator == "-or" && isTrue(left):
		return true, nil
	}
	right, err := r.value(parts[2])
	if err != nil {
		return nil, err
	}
	if value, err := compute(operator, left, right); err != nil {
		return nil, fmt.Errorf("line %d: %s: %w", r.line(n.start), r.of(n), err)
	} else {
		return value, nil
	}
}

// compute applies an operator.
func compute(operator string, left, right any) (any, error) {
	switch operator {
	case "-and", "-or":
		return isTrue(right), nil
	case "-eq", "-ne":
		same, err := equal(left, right)
		return same == (operator == "-eq"), err
	case "-in", "-notin":
		found := slices.ContainsFunc(List(right), func(one any) bool {
			same, err := equal(one, left)
			return err == nil && same
		})
		return found == (operator == "-in"), nil
	case "-like", "-notlike":
		return isLike(Text(left), Text(right)) == (operator == "-like"), nil
	case "-lt", "-gt":
		a, is := left.(int)
		b, too := right.(int)
		if !is || !too {
			return nil, fmt.Errorf("only numbers are compared so")
		}
		return a < b && operator == "-lt" || a > b && operator == "-gt", nil
	case "-replace":
		return replace(Text(left), List(right))
	case "-join":
		var texts []string
		for _, one := range List(left) {
			texts = append(texts, Text(one))
		}
		return strings.Join(texts, Text(right)), nil
	case "+":
		return add(left, right)
	}
	return nil, fmt.Errorf("the operator is not known here")
}

func add(left, right any) (any, error) {
	switch left := left.(type) {
	case nil:
		return right, nil
	case []any:
		return append(slices.Clone(left), List(right)...), nil
	case string:
		return left + Text(right), nil
	case int:
		if number, is := right.(int); is {
			return left + number, nil
		}
	}
	return nil, fmt.Errorf("a %T is not added to here", left)
}

// isLike compares with a pattern in which * stands for anything.
func isLike(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?is)^" + strings.Join(parts, ".*") + "$").MatchString(text)
}

func replace(text string, by []any) (any, error) {
	if len(by) != 2 {
		return nil, fmt.Errorf("a pattern and what takes its place are wanted")
	}
	pattern, err := regexp.Compile("(?i)" + Text(by[0]))
	if err != nil {
		return nil, err
	}
	return pattern.ReplaceAllString(text, regexp.MustCompile(`\$(\d)`).ReplaceAllString(Text(by[1]), "$${$1}")), nil
}
