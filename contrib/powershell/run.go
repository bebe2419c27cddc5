package powershell

import (
	"errors"
	"fmt"
	"strings"
)

// Cmdlet is a command that is not the script's own. Switches stand for true. What it returns goes
// down the pipeline.
type Cmdlet func(args *Table) ([]any, error)

// Home is the folder that $HOME names in each world.
const Home = "/home/administrator"

// World is what a script runs in.
type World struct {
	// Cmdlets are by their names in lower case. Those of PowerShell itself are there anyway.
	Cmdlets map[string]Cmdlet
	// Answer answers Read-Host.
	Answer func(prompt string) string
	// Files are what scripts keep by Export-Clixml, by their names.
	Files map[string][]any
	// Printed is what Write-Host has written, line by line.
	Printed []string
}

// run is one run of a script.
type run struct {
	*Script
	*World
	functions map[string]node
	frame     *frame
}

// frame holds the variables of one call. A script reads those of its callers, too.
type frame struct {
	variables map[string]any
	caller    *frame
}

// These end more than the statement in which they come up.
var (
	errContinue = errors.New("continue outside of a loop")
	errReturn   = errors.New("return")
)

// Run runs a script. The error is what it throws, or says what is not known here.
func (w *World) Run(s *Script) error {
	if w.Files == nil {
		w.Files = make(map[string][]any)
	}
	own := map[string]any{"true": true, "false": false, "null": nil, "home": Home}
	r := &run{Script: s, World: w, functions: make(map[string]node), frame: &frame{variables: own}}
	_, err := r.statements(s.root)
	return err
}

// statements runs what stands in a block, and gathers what it puts out.
func (r *run) statements(n node) (out []any, err error) {
	for _, child := range n.parts() {
		switch child.kind {
		case "{", "}", "$(", ")", "@(", ";", "empty_statement":
			continue
		}
		more, err := r.statement(child)
		out = append(out, more...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r *run) statement(n node) ([]any, error) {
	switch n.kind {
	case "statement_list", "statement_block", "script_block", "script_block_body":
		return r.statements(n)
	case "function_statement":
		r.functions[strings.ToLower(r.of(n.only("function_name")))] = n
		return nil, nil
	case "if_statement":
		return r.ifStatement(n)
	case "foreach_statement":
		return r.foreach(n)
	case "flow_control_statement":
		return r.flow(n)
	case "pipeline":
		return r.pipeline(n)
	}
	return nil, r.unknown(n)
}

func (r *run) unknown(n node) error {
	return fmt.Errorf("line %d: %s is not known here: %.80q", r.line(n.start), n.kind, r.of(n))
}

func (r *run) ifStatement(n node) ([]any, error) {
	condition, err := r.pipeline(n.only("pipeline"))
	if err != nil {
		return nil, err
	}
	switch rest := n.only("else_clause"); {
	case n.only("elseif_clauses").kind != "":
		return nil, r.unknown(n)
	case isTrue(single(condition)):
		return r.statements(n.only("statement_block"))
	case rest.kind != "":
		return r.statements(rest.only("statement_block"))
	}
	return nil, nil
}

func (r *run) foreach(n node) (out []any, err error) {
	list, err := r.pipeline(n.only("pipeline"))
	if err != nil {
		return nil, err
	}
	variable := r.variable(n.only("variable"))
	for _, one := range list {
		r.frame.variables[variable] = one
		more, err := r.statements(n.only("statement_block"))
		out = append(out, more...)
		if err != nil && !errors.Is(err, errContinue) {
			return out, err
		}
	}
	return out, nil
}

func (r *run) flow(n node) ([]any, error) {
	parts := n.parts()
	var value []any
	if len(parts) > 1 {
		var err error
		if value, err = r.pipeline(parts[1]); err != nil {
			return nil, err
		}
	}
	switch parts[0].kind {
	case "continue":
		return nil, errContinue
	case "return":
		return value, errReturn
	case "throw":
		return nil, fmt.Errorf("line %d throws: %s", r.line(n.start), Text(single(value)))
	}
	return nil, r.unknown(n)
}

// pipeline runs commands one after the other, or an expression, or an assignment.
func (r *run) pipeline(n node) (out []any, err error) {
	for _, child := range n.parts() {
		switch child.kind {
		case "|":
		case "pipeline", "pipeline_chain":
			out, err = r.pipeline(child)
		case "assignment_expression":
			err = r.assign(child)
		case "command":
			out, err = r.command(child, out)
		default:
			var value any
			value, err = r.value(child)
			out = List(value)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// variable is the name of one, as it is kept.
func (r *run) variable(n node) string {
	return strings.ToLower(strings.TrimLeft(r.of(n), "$@"))
}

func (r *run) lookup(name string) any {
	for f := r.frame; f != nil; f = f.caller {
		if value, there := f.variables[name]; there {
			return value
		}
	}
	return nil
}

func (r *run) assign(n node) error {
	parts := n.parts()
	var list []any
	var err error
	if parts[2].kind == "pipeline" {
		list, err = r.pipeline(parts[2])
	} else {
		list, err = r.statement(parts[2])
	}
	if err != nil {
		return err
	}
	value := single(list)
	if right := parts[2]; len(right.parts()) == 1 && r.isArray(right) {
		value = list // @( ) stays a list, whatever it has
	}
	if r.of(parts[1]) == "+=" {
		before, err := r.value(parts[0])
		if err != nil {
			return err
		}
		if value, err = add(before, value); err != nil {
			return err
		}
	}
	return r.put(parts[0], value)
}

// isArray reports a pipeline that is nothing but @( ).
func (r *run) isArray(n node) bool {
	for n.kind == "pipeline" || n.kind == "pipeline_chain" {
		parts := n.parts()
		if len(parts) != 1 {
			return false
		}
		n = parts[0]
	}
	return n.kind == "array_expression"
}

// put stores a value where a variable, a member or an element is meant.
func (r *run) put(target node, value any) error {
	if target.kind == "variable" {
		r.frame.variables[r.variable(target)] = value
		return nil
	}
	parts := target.parts()
	holder, err := r.value(parts[0])
	if err != nil {
		return err
	}
	table, is := holder.(*Table)
	if !is {
		return fmt.Errorf("line %d: %s is no table", r.line(target.start), r.of(parts[0]))
	}
	name, err := r.memberName(target)
	if err != nil {
		return err
	}
	table.Set(name, value)
	return nil
}

// memberName is the name in $x.name, $x.$name and $x[$name].
func (r *run) memberName(n node) (string, error) {
	parts := n.parts()
	member := parts[2]
	if n.kind == "member_access" {
		if member.only("simple_name").kind != "" || len(member.children) == 0 {
			return r.of(member), nil
		}
		member = member.children[0]
	}
	value, err := r.value(member)
	return Text(value), err
}
