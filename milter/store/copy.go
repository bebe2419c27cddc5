package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// Copy writes what the file at from holds at one moment into a new file at to, which must not
// exist. Others may change the file meanwhile. The copy is whole and on disk when there is no
// error: nothing lies beside it. Its folder should be one that nobody looks into before.
func Copy(ctx context.Context, from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return err // SQLite would not name the file
	}
	db, err := sql.Open("sqlite", dataSource(from, []string{fmt.Sprintf("busy_timeout(%d)", defaultPatience.Milliseconds())}, "deferred"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	err = makeFile(to) // with the mode that the original has
	if err == nil {
		_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	}
	// SQLite does not see to it that the copy is on disk.
	if err = errors.Join(err, db.Close()); err == nil {
		err = syncFile(to)
	}
	if err != nil {
		return fmt.Errorf("copying %s to %s: %w", from, to, err)
	}
	return nil
}
