// Package sidebyside asks about many things at once, but not about all.
package sidebyside

import "sync"

// Ask asks about each of a list, no more than most of them at a time, and returns the answers in
// the order of the list.
func Ask[T, A any](list []T, most int, ask func(T) A) []A {
	answers := make([]A, len(list))
	var done sync.WaitGroup
	slots := make(chan struct{}, most)
	for i, one := range list {
		slots <- struct{}{}
		done.Go(func() {
			defer func() { <-slots }()
			answers[i] = ask(one)
		})
	}
	done.Wait()
	return answers
}
