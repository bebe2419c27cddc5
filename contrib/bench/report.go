package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// pair is a run of a rival with the runs of coexistd before and after it.
type pair struct{ before, theirs, after sample }

// speed is how many times the rival's messages a second coexistd passes.
func (p pair) speed() float64 { return (p.before.rate + p.after.rate) / 2 / p.theirs.rate }

// cost is coexistd's processor time a message in units of the rival's.
func (p pair) cost() float64 { return (p.before.cpu + p.after.cpu) / 2 / p.theirs.cpu }

// row is one line of the table. Speed and cost are empty for coexistd itself.
type row struct {
	size, name  string
	rate, cpu   float64
	memory      float64
	speed, cost spread
}

// spread is the median of some figures with their quartiles.
type spread struct{ lower, median, upper float64 }

// spreadOf needs one figure at least. The quartiles are the figures a quarter
// of the way from either end.
func spreadOf(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return spread{sorted[n/4], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1-n/4]}
}

// String writes the spread as a cell of the table; the zero one is "–".
func (s spread) String() string {
	if s == (spread{}) {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", s.median, s.lower, s.upper)
}

func figures[T any](list []T, figure func(T) float64) spread {
	all := make([]float64, 0, len(list))
	for _, item := range list {
		all = append(all, figure(item))
	}
	return spreadOf(all)
}

// rows makes the lines of one trial.
func (s settings) rows(t trial, subject *server, rivals []*server, own []sample, pairs [][]pair) ([]row, error) {
	memory, err := subject.peakMemory()
	if err != nil {
		return nil, err
	}
	rate := func(m sample) float64 { return m.rate }
	cpu := func(m sample) float64 { return m.cpu }
	rows := []row{{size: t.name, name: "coexistd", rate: figures(own, rate).median, cpu: figures(own, cpu).median, memory: memory}}
	for i, list := range pairs {
		if memory, err = rivals[i].peakMemory(); err != nil {
			return nil, err
		}
		rows = append(rows, row{
			size: t.name, name: t.rivals[i].name, memory: memory,
			rate:  figures(list, func(p pair) float64 { return p.theirs.rate }).median,
			cpu:   figures(list, func(p pair) float64 { return p.theirs.cpu }).median,
			speed: figures(list, pair.speed), cost: figures(list, pair.cost),
		})
	}
	return rows, nil
}

// writeReport prints the conditions and the table in Markdown.
func writeReport(w io.Writer, s settings, load string, rows []row) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processors (%s), Linux %s, %s; load before the start: %s. Unix sockets,\n",
		runtime.NumCPU(), processor(), kernel(), runtime.Version(), load)
	fmt.Fprintf(&b, "%d connections, %d messages on each, one recipient a message, a directory of %d addresses;\n",
		s.connections, s.messages, users)
	fmt.Fprintf(&b, "%d rounds, runs of %.1f s. Ratios: median (quartiles) of coexistd's runs to the C milter's run between them.\n\n",
		s.rounds, s.seconds)
	b.WriteString("| size | milter | messages/s | coexistd's messages/s to its | CPU µs a message | coexistd's CPU to its | peak memory MB |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %.0f | %v | %.1f | %v | %.0f |\n", r.size, r.name, r.rate, r.speed, r.cpu, r.cost, r.memory)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// busy is the load above which a measurement of messages a second says more
// about the machine's other work than about the milters.
const busy = 0.5

// loadAverage is the load of the last minute, with a warning when the machine
// is busy with something else.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	if load, err := strconv.ParseFloat(first, 64); err == nil && load > busy {
		fmt.Fprintf(os.Stderr, "bench: the load is %s: the machine is busy, and only the processor time a message will mean much\n", first)
	}
	return first
}

// kernel is the running kernel's release.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// processor is the processor's model, "unknown" where the kernel tells none.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(after, "\n")
	if name := strings.Trim(line, " \t:"); name != "" {
		return name
	}
	return "unknown"
}
