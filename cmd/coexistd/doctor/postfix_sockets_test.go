package doctor

import (
	"strings"
	"testing"
)

func TestOfTheKernelsListOnlyASocketThatListensIsOne(t *testing.T) {
	const list = `Num       RefCount Protocol Flags    Type St Inode Path
000000006fc2bb2e: 00000003 00000000 00000000 0001 03 59474343
00000000635738ab: 00000003 00000000 00000000 0001 03 59473242 /run/used
0000000063573800: 00000002 00000000 00010000 0001 01 59473243 /run/listens
0000000063573801: 00000002 00000000 00010000 0001 01   123 /run/early
0000000063573802: 00000002 00000000 00010000 0001 01 59473244 /run/a b
0000000063573803: 00000002 00000000 00010000 0001 01 59473245 @/run/abstract
cut off
`
	for path, want := range map[string]bool{
		"/run/listens": true, "/run/early": true, "/run/a b": true, "/run/used": false, "/run/abstract": false, "/run/listen": false, "/run/": false, "": false,
	} {
		if got := isListening(strings.NewReader(list), path); got != want {
			t.Errorf("%q listens: %v", path, got)
		}
	}
}
