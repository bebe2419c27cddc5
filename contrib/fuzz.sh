#!/bin/sh
# Runs every fuzz target of the module for the given time, one after another.
set -eu
time=${1:-60s}
for package in $(go list ./...); do
	targets=$(go test -list '^Fuzz' "$package")
	for target in $(echo "$targets" | grep '^Fuzz'); do
		echo "fuzz $package $target $time"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$package"
	done
done
