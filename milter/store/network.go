package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// networkKinds are the file systems on which several hosts may have one file, by what
// statfs(2) calls them. The locks of SQLite, and the memory that its processes share, hold
// within one host only (https://www.sqlite.org/wal.html).
var networkKinds = map[int64]string{
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS", unix.SMB2_SUPER_MAGIC: "SMB",
	unix.AFS_SUPER_MAGIC: "AFS", unix.AFS_FS_MAGIC: "AFS", unix.CODA_SUPER_MAGIC: "Coda", unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.OCFS2_SUPER_MAGIC: "OCFS2", 0x01161970: "GFS2", 0x0BD00BD0: "Lustre",
}

// refuseNetwork says what is wrong with a folder, or the nearest that there is above it, on
// such a file system.
func refuseNetwork(folder string) error {
	var system unix.Statfs_t
	err := unix.Statfs(folder, &system)
	for errors.Is(err, fs.ErrNotExist) && folder != filepath.Dir(folder) {
		folder = filepath.Dir(folder)
		err = unix.Statfs(folder, &system)
	}
	if err != nil {
		return fmt.Errorf("the file system of %s cannot be told: %w", folder, err)
	}
	if kind := networkKinds[int64(system.Type)]; kind != "" {
		return fmt.Errorf("%s is on a network file system (%s), where SQLite's locks do not hold; set state_dir to a folder on a disk of this host", folder, kind)
	}
	return nil
}
