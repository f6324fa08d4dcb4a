package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"natd/internal/durable"
	"natd/internal/flow"
)

// leavingName is the file in the state directory that remembers leaving.
const leavingName = "leaving.json"

// leaving is what gateways and statics that the configuration has no more translated, while connections of it may be left. The
// kernel forgets it with their rules: a natd that is killed in between finds it in a file. Relays have the set of listens for that.
type leaving struct {
	path  string
	boxes []flow.Box
	noted bool // the file is there
}

// loadLeaving reads what a natd left that was killed. On an error there is nothing in it, and it can be used all the same.
func loadLeaving(path string) (*leaving, error) {
	l := &leaving{path: path}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	l.noted = true
	if err == nil {
		err = json.Unmarshal(content, &l.boxes)
	}
	if err != nil {
		l.boxes = nil
		return l, fmt.Errorf("read which gateways and statics were removed: %w", err)
	}
	return l, nil
}

// note writes down what goes besides, before it is gone.
func (l *leaving) note(more []flow.Box) error {
	if len(more) == 0 {
		return nil
	}
	content, err := json.Marshal(slices.Concat(l.boxes, more))
	if err == nil {
		err = durable.Replace(l.path, append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write down which gateways and statics are removed: %w", err)
	}
	l.noted = true
	return nil
}

// done forgets everything: the connections have ended.
func (l *leaving) done() error {
	l.boxes = nil
	if !l.noted {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.noted = false
	return nil
}
