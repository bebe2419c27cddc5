package quarantine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A release is claimed in the name of the process that makes it, so that one which has ended
// is known: its number is given to another process some day, but not with the same start since
// the machine was started.

// thisProcess names this process.
func thisProcess() string { return processName(os.Getpid()) }

// isUnderWay reports that an entry is being released now. Of one that is Releasing and is
// not, the release was broken off.
func (r *row) isUnderWay() bool {
	number, _, _ := strings.Cut(r.releaser, " ")
	pid, err := strconv.Atoi(number)
	return err == nil && r.State == Releasing && processName(pid) == r.releaser
}

// processName is a process' number, when it was started (proc(5), /proc/PID/stat, field 22),
// and when the machine was, by the name of that; or empty where there is none.
func processName(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	boot, errBoot := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || errBoot != nil {
		return ""
	}
	// The second field, the program's name, is in parentheses and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const start = 22 - 3 // of the fields from the third on
	if len(fields) <= start {
		return ""
	}
	return fmt.Sprintf("%d %s %s", pid, fields[start], bytes.TrimSpace(boot))
}
