package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// directoriesReport has the figures of each home.
type directoriesReport struct {
	load   string
	rounds int
	staff  staff
	homes  []string
	stays  [][]stay
}

func (r *directoriesReport) add(name string, stays []stay) {
	r.homes, r.stays = append(r.homes, name), append(r.stays, stays)
}

// directoriesFigures are the lines of the table.
var directoriesFigures = []struct {
	name   string
	format string
	of     func(stay) float64
}{
	{"first load: read and saved, s", "%.1f", func(s stay) float64 { return s.read }},
	{"first load: until it counts, s", "%.1f", func(s stay) float64 { return s.first }},
	{"a poll that finds nothing new, ms", "%.1f", func(s stay) float64 { return s.poll }},
	{"the daemon's processor time for it, ms", "%.1f", func(s stay) float64 { return s.pollCPU }},
	{"one change, from the poll that finds it until it counts, s", "%.1f", func(s stay) float64 { return s.reload }},
	{"the same from the change on, s", "%.1f", func(s stay) float64 { return s.change }},
	{"the whole list read anew, with nothing new in it, s", "%.1f", func(s stay) float64 { return s.reread }},
	{"a restart, until the saved list counts, s", "%.1f", func(s stay) float64 { return s.restart }},
	{"resident at rest, MB", "%.0f", func(s stay) float64 { return s.rest }},
	{"resident at the peak of the first load, MB", "%.0f", func(s stay) float64 { return s.peakFirst }},
	{"resident at the peak of a reload, MB", "%.0f", func(s stay) float64 { return s.peakReload }},
	{"resident at the peak after a restart, MB", "%.0f", func(s stay) float64 { return s.peakReread }},
}

// write prints the conditions and the table in Markdown.
func (r *directoriesReport) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processors (%s) shared with the servers, Linux %s, %s; load before the start: %s. %d mailboxes and %d aliases, a poll each %v;\n",
		runtime.NumCPU(), processor(), kernel(), runtime.Version(), r.load, r.staff.mailboxes(), r.staff.aliases(), pollEvery)
	fmt.Fprintf(&b, "%d rounds, each with an empty state: median (least–most).\n\n| |", r.rounds)
	for _, name := range r.homes {
		fmt.Fprintf(&b, " %s |", name)
	}
	b.WriteString("\n|---" + strings.Repeat("|---", len(r.homes)) + "|\n")
	for _, line := range directoriesFigures {
		fmt.Fprintf(&b, "| %s |", line.name)
		for _, stays := range r.stays {
			fmt.Fprintf(&b, " %s |", spanOf(line.format, stays, line.of))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// spanOf writes the median with the least and the most; what was not measured is "–".
func spanOf(format string, stays []stay, of func(stay) float64) string {
	var all []float64
	for _, one := range stays {
		all = append(all, of(one))
	}
	if slices.Max(all) == 0 {
		return "–"
	}
	return fmt.Sprintf("**"+format+"** ("+format+"–"+format+")", spreadOf(all).median, slices.Min(all), slices.Max(all))
}
