package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"testing"
)

// TestAKilledProcessLeavesNothing runs this test binary again, in which it
// starts an instance and waits to be killed.
func TestAKilledProcessLeavesNothing(t *testing.T) {
	start := map[string]func() (group int, dir string){
		"postfix": func() (int, string) {
			m := startPostfix(t, Config{})
			return m.process.Process.Pid, m.Dir
		},
		"clamd": func() (int, string) {
			c := startClamd(t, ClamdConfig{})
			return c.Pid(), c.dir
		},
		"a suspended rspamd": func() (int, string) {
			r := startRspamd(t, RspamdConfig{})
			if err := r.Suspend(); err != nil {
				t.Fatal(err)
			}
			return r.Pid(), r.dir
		},
	}
	if victim := os.Getenv("LAB_TEST_VICTIM"); victim != "" {
		fmt.Println(start[victim]())
		select {}
	}
	t.Parallel()
	Lend(t)
	LendFilters(t)
	for name := range start {
		t.Run(name, func(t *testing.T) { t.Parallel(); killVictim(t, name) })
	}
}

func killVictim(t *testing.T, name string) {
	victim := exec.CommandContext(deadline(t), os.Args[0], "-test.run=^TestAKilledProcessLeavesNothing$")
	victim.Env = append(os.Environ(), "LAB_TEST_VICTIM="+name)
	// The guard shares standard error, so that ends when the guard has.
	trouble, guardOutput, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer trouble.Close()
	victim.Stderr = guardOutput
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	guardOutput.Close()
	var group int
	var dir string
	if _, err := fmt.Fscanln(out, &group, &dir); err != nil {
		t.Fatal(err)
	}
	victim.Process.Kill()
	victim.Wait()
	said, err := io.ReadAll(trouble)
	if err != nil || len(said) > 0 {
		t.Errorf("the guard said %q, %v", said, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder %s is left: %v", dir, err)
	}
	if err := awaitGroup(group, gone); err != nil {
		t.Errorf("processes are left: %v", err)
	}
}
