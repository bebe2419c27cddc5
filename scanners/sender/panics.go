package sender

import (
	"runtime/debug"
	"sync"
)

// brokeDown is a panic on its way from one goroutine to another.
type brokeDown struct {
	panicked any
	stack    []byte
}

// together runs all of the work at once, and returns when all of it has ended. A
// panic in it goes on in the caller's goroutine, where it can be recovered.
func together(work ...func()) {
	var done sync.WaitGroup
	broken := make(chan brokeDown, len(work))
	for _, one := range work {
		done.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					broken <- caught(v)
				}
			}()
			one()
		})
	}
	done.Wait()
	select {
	case b := <-broken:
		panic(b)
	default:
	}
}

// try makes a check. It tells a panic to v.Broken, and returns why the check has no
// result then, else "".
func (v *Verifier) try(check func()) (why string) {
	defer func() {
		if p := recover(); p != nil {
			if v.Broken != nil {
				b := caught(p)
				v.Broken(b.panicked, b.stack)
			}
			why = "the check broke down, which is an error in coexistd"
		}
	}()
	check()
	return ""
}

// caught is called where v was recovered. It keeps the stack of a panic that comes
// from another goroutine.
func caught(v any) brokeDown {
	if b, ok := v.(brokeDown); ok {
		return b
	}
	return brokeDown{v, debug.Stack()}
}
