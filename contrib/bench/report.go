package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
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

// spread is the least, the middle and the greatest of some figures.
type spread struct{ least, median, greatest float64 }

func spreadOf(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return spread{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}

// String writes the spread as a cell of the table; the zero one is "–".
func (s spread) String() string {
	if s == (spread{}) {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", s.median, s.least, s.greatest)
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
func writeReport(w io.Writer, s settings, rows []row) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processors (%s), Linux %s, %s, libmilter; unix sockets, %d connections, %d messages a connection,\n",
		runtime.NumCPU(), processor(), kernel(), runtime.Version(), s.connections, s.messages)
	fmt.Fprintf(&b, "one recipient a message, a directory of %d addresses; %d rounds of %.1f s a run, alternating.\n", users, s.rounds, s.seconds)
	fmt.Fprintf(&b, "Ratios: median (least–greatest) of coexistd's neighbouring runs to the C milter's run.\n\n")
	b.WriteString("| size | milter | messages/s | coexistd's messages/s to its | CPU µs a message | coexistd's CPU to its | peak memory MB |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %.0f | %v | %.1f | %v | %.0f |\n", r.size, r.name, r.rate, r.speed, r.cpu, r.cost, r.memory)
	}
	_, err := io.WriteString(w, b.String())
	return err
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
