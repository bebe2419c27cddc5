package powershell

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// call is a command with its arguments.
type call struct {
	name       string
	named      *Table
	positional []any
	input      []any
}

// command runs one, which gets what the one before it has put out.
func (r *run) command(n node, input []any) ([]any, error) {
	c := &call{named: &Table{}, input: input}
	for _, part := range n.parts() {
		switch part.kind {
		case "command_invokation_operator":
		case "command_name":
			c.name = r.of(part)
		case "command_name_expr":
			name, err := r.value(part.children[0])
			if err != nil {
				return nil, err
			}
			c.name = Text(name)
		case "command_elements":
			if err := r.arguments(c, part); err != nil {
				return nil, err
			}
		default:
			return nil, r.unknown(part)
		}
	}
	out, err := r.dispatch(c)
	if err != nil && strings.EqualFold(Text(c.named.Get("ErrorAction")), "SilentlyContinue") {
		return nil, nil
	}
	return out, err
}

// arguments reads parameters, their values, tables of both (@name), and what stands alone.
func (r *run) arguments(c *call, elements node) error {
	waiting := "" // the parameter whose value comes next
	for _, part := range elements.parts() {
		text := r.of(part)
		if part.kind == "command_parameter" {
			if waiting != "" {
				c.named.Set(waiting, true)
			}
			waiting = strings.TrimSuffix(strings.TrimPrefix(text, "-"), ":")
			if c.isSwitch(waiting) {
				waiting = ""
			}
			continue
		}
		value, err := r.value(part)
		if err != nil {
			return err
		}
		switch {
		case part.kind == "variable" && strings.HasPrefix(text, "@"):
			if err := c.splat(value); err != nil {
				return fmt.Errorf("line %d: %s: %w", r.line(part.start), text, err)
			}
		case waiting != "":
			c.named.Set(waiting, value)
			waiting = ""
		default:
			c.positional = append(c.positional, value)
		}
	}
	if waiting != "" {
		c.named.Set(waiting, true)
	}
	return nil
}

// isSwitch takes a parameter that has no value.
func (c *call) isSwitch(name string) bool {
	if !slices.Contains([]string{"assecurestring", "unique"}, strings.ToLower(name)) {
		return false
	}
	c.named.Set(name, true)
	return true
}

// splat adds parameters with their values.
func (c *call) splat(value any) error {
	table, is := value.(*Table)
	if !is {
		return errors.New("it is no table")
	}
	for _, name := range table.Names() {
		if c.named.Has(name) {
			return fmt.Errorf("the parameter %s is given twice", name)
		}
		c.named.Set(name, table.Get(name))
	}
	return nil
}

// dispatch finds who runs a command.
func (r *run) dispatch(c *call) ([]any, error) {
	name := strings.ToLower(c.name)
	if function, ours := r.functions[name]; ours {
		return r.function(function, c)
	}
	if cmdlet, known := r.Cmdlets[name]; known {
		if len(c.positional) > 0 || len(c.input) > 0 {
			return nil, fmt.Errorf("%s: all of its parameters are to be named", c.name)
		}
		args := c.named.Clone()
		return cmdlet(args)
	}
	return r.builtin(name, c)
}

// function runs one of the script's own.
func (r *run) function(n node, c *call) ([]any, error) {
	f := &frame{variables: make(map[string]any), caller: r.frame}
	positional := c.positional
	for _, parameter := range n.only("function_parameter_declaration").only("parameter_list").parts() {
		if parameter.kind != "script_parameter" {
			continue
		}
		name := r.variable(parameter.only("variable"))
		switch {
		case c.named.Has(name):
			f.variables[name] = c.named.Get(name)
		case len(positional) > 0:
			f.variables[name], positional = positional[0], positional[1:]
		case parameter.only("script_parameter_default").kind != "":
			caller := r.frame
			r.frame = f
			value, err := r.value(parameter.only("script_parameter_default").parts()[1])
			r.frame = caller
			if err != nil {
				return nil, err
			}
			f.variables[name] = value
		default:
			f.variables[name] = nil
		}
	}
	if len(positional) > 0 {
		return nil, fmt.Errorf("%s has more arguments than parameters", c.name)
	}
	r.frame = f
	out, err := r.statements(n.only("script_block"))
	r.frame = f.caller
	if errors.Is(err, errReturn) {
		err = nil
	}
	return out, err
}

// each runs a block for each of a pipeline's values.
func (r *run) each(c *call, do func(value any, out []any)) error {
	block, is := c.positional[0].(node)
	if !is {
		return fmt.Errorf("%s wants a block", c.name)
	}
	before := r.lookup("_")
	defer func() { r.frame.variables["_"] = before }()
	for _, value := range c.input {
		r.frame.variables["_"] = value
		out, err := r.statements(block.only("script_block"))
		if err != nil {
			return err
		}
		do(value, out)
	}
	return nil
}

// builtin runs a command of PowerShell itself.
func (r *run) builtin(name string, c *call) (out []any, err error) {
	switch name {
	case "write-host":
		r.Printed = append(r.Printed, Text(single(c.positional)))
	case "out-null", "format-list":
	case "where-object":
		err = r.each(c, func(value any, result []any) {
			if isTrue(single(result)) {
				out = append(out, value)
			}
		})
	case "foreach-object":
		err = r.each(c, func(_ any, result []any) { out = append(out, result...) })
	case "select-object":
		if first, is := c.named.Get("First").(int); is {
			return c.input[:min(first, len(c.input))], nil
		}
		err = fmt.Errorf("Select-Object is known with -First alone")
	case "sort-object":
		out = slices.Clone(c.input)
		slices.SortFunc(out, func(a, b any) int { return strings.Compare(strings.ToLower(Text(a)), strings.ToLower(Text(b))) })
		if c.named.Has("Unique") {
			out = slices.CompactFunc(out, func(a, b any) bool { return strings.EqualFold(Text(a), Text(b)) })
		}
	case "get-command":
		asked := strings.ToLower(Text(single(c.positional)))
		if r.Cmdlets[asked] == nil {
			return nil, fmt.Errorf("Get-Command: there is no %v", c.positional)
		}
		out = []any{NewTable("Name", asked)}
	case "read-host":
		out = []any{secure(r.Answer(Text(single(c.positional))))}
	default:
		return r.file(name, c)
	}
	return out, err
}

// file runs a command that names a file, or keeps objects in one.
func (r *run) file(name string, c *call) ([]any, error) {
	path := Text(single(c.positional))
	switch name {
	case "join-path":
		if len(c.positional) != 2 {
			return nil, fmt.Errorf("Join-Path wants a folder and a name")
		}
		return []any{Text(c.positional[0]) + "/" + Text(c.positional[1])}, nil
	case "test-path":
		_, there := r.Files[path]
		return []any{there}, nil
	case "import-clixml":
		return r.Files[path], nil
	case "export-clixml":
		r.Files[path] = slices.Clone(c.input)
		return nil, nil
	case "remove-item":
		delete(r.Files, path)
		return nil, nil
	}
	return nil, fmt.Errorf("the command %s is not known here", c.name)
}
