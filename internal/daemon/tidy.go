package daemon

import (
	"runtime/debug"
	"time"
)

const (
	// tidyPause is how long nothing large has to have been done before memory is given back: what comes soon would only take it again.
	tidyPause = 2 * time.Second
	// tidyFrom is how many relays are worth it, but for the first time.
	tidyFrom = 1000
)

// tidy gives memory back to the system. To read a hundred thousand relays from a file or from the kernel takes several times what
// is kept of them. Go's collector lets as much garbage gather again as is alive, and gives free memory back so slowly that natd would seem to
// need all of it for good, on a machine that may have half a gigabyte.
type tidy struct{ timer *time.Timer }

func newTidy() *tidy { return &tidy{time.AfterFunc(tidyPause, debug.FreeOSMemory)} }

// later asks for it, once natd has come to rest after the work on so many relays.
func (t *tidy) later(relays int) {
	if relays >= tidyFrom {
		t.timer.Reset(tidyPause)
	}
}

func (t *tidy) stop() { t.timer.Stop() }
