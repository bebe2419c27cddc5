package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// logging is what the flags say of the daemon's log.
type logging struct {
	level, format oneOf
}

// flags gives a command the flags of its log.
func (l *logging) flags(cmd *cobra.Command) {
	l.level = oneOf{word: "info", of: []string{"debug", "info", "warn", "error"}}
	l.format = oneOf{word: "text", of: []string{"text", "json"}}
	cmd.Flags().Var(&l.level, "log-level", "write what is of this `LEVEL` at least: "+l.level.choices())
	cmd.Flags().Var(&l.format, "log-format", "the `FORMAT` of the log's lines: "+l.format.choices())
	cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions(l.level.of, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions(l.format.of, cobra.ShellCompDirectiveNoFileComp))
}

// to returns a log that writes to w.
func (l *logging) to(w io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	options := &slog.HandlerOptions{Level: levels[l.level.word]}
	if l.format.word == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// oneOf is the value of a flag that is one of some words.
type oneOf struct {
	word string
	of   []string
}

// Set takes the word, or says which would be right.
func (o *oneOf) Set(word string) error {
	if !slices.Contains(o.of, word) {
		return fmt.Errorf("it would be %s", o.choices())
	}
	o.word = word
	return nil
}

// String is the word.
func (o *oneOf) String() string { return o.word }

// Type is what pflag calls the value.
func (o *oneOf) Type() string { return "word" }

func (o *oneOf) choices() string {
	last := len(o.of) - 1
	return strings.Join(o.of[:last], ", ") + " or " + o.of[last]
}
