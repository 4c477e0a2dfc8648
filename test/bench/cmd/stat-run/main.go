// Command stat-run lists a folder and asks for the size and times of every file in
// it, on all processors: the least that finding out whether any of them has changed
// can be. The benchmarks show how much of a run with nothing to do that is.
//
// Usage: stat-run FOLDER
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "stat-run:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: stat-run FOLDER")
	}
	folder, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	defer folder.Close() //nolint:errcheck // nothing was written
	const chunk = 512
	chunks := make(chan []fs.DirEntry, runtime.GOMAXPROCS(0))
	problems := make(chan error, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var problem error
			for entries := range chunks {
				for _, e := range entries {
					if _, err := e.Info(); err != nil {
						problem = err
					}
				}
			}
			problems <- problem
		})
	}
	for err == nil {
		var entries []fs.DirEntry
		entries, err = folder.ReadDir(chunk)
		chunks <- entries
	}
	close(chunks)
	all.Wait()
	close(problems)
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("list the folder: %w", err)
	}
	for problem := range problems {
		if problem != nil {
			return fmt.Errorf("look at a file: %w", problem)
		}
	}
	return nil
}
