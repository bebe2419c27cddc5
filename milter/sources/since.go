package sources

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Since is a time since which the list has been as it is, at least: that of the last change to
// its file, or when it was taken, where that was before. It is zero where there is no list.
func (c *List) Since() time.Time {
	if c.Snapshot == nil {
		return time.Time{}
	}
	since := c.Loaded
	if info, err := os.Stat(c.Path()); err == nil && changed(info).Before(since) {
		since = changed(info)
	}
	return since
}

// changed is when a file became what it is. Its time of modification may be older: it goes
// with a file that is moved or copied to where it is.
func changed(info fs.FileInfo) time.Time {
	if state, known := info.Sys().(*syscall.Stat_t); known {
		return time.Unix(state.Ctim.Unix())
	}
	return info.ModTime()
}

// Frozen are the lists as they are now. They stay so, whatever becomes of the Directories.
func (d Directories) Frozen() Directories {
	all := make(Directories, len(d))
	for i, one := range d {
		list := *one
		all[i] = &list
	}
	return all
}
