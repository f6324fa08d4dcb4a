package firewall

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// elements reads the elements of the sets that rules look into.
func (r *reader) elements() error {
	for _, s := range r.rules.sets {
		if !s.used {
			continue
		}
		if err := readElements(s, r.limit); err != nil {
			return fmt.Errorf("set %s of table %s %s: %w", s.name, s.table.familyName(), s.table.name, err)
		}
	}
	return nil
}

// readElements reads a set on a socket of its own: closing it is what ends the dump of a large one.
func readElements(s *set, limit int) error {
	socket, err := nfnl.Dial(0)
	if err != nil {
		return err
	}
	defer socket.Close()
	err = socket.Dump(elementsRequest(s, nil), func(m nfnl.Message) error {
		for _, b := range nfnl.Attrs(nfnl.Attr(m.Attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if len(s.elements) >= limit {
				return nfnl.Stop(errLarge)
			}
			if e := decodeElement(b); e.key != nil {
				s.elements = append(s.elements, e)
			} else {
				s.fallback = &e
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errLarge):
		s.large, s.elements = true, nil
	case err != nil:
		return err
	}
	s.index()
	return nil
}

// elementsRequest asks for the elements of a set, or for that of a key.
func elementsRequest(s *set, key []byte) *nfnl.Builder {
	var b nfnl.Builder
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETSETELEM), 0, s.table.family, 0)
	b.String(unix.NFTA_SET_ELEM_LIST_TABLE, s.table.name)
	b.String(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	if key != nil {
		list := b.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		elem := b.Nest(unix.NFTA_LIST_ELEM)
		value := b.Nest(unix.NFTA_SET_ELEM_KEY)
		b.Bytes(unix.NFTA_DATA_VALUE, key)
		b.Unnest(value)
		b.Unnest(elem)
		b.Unnest(list)
	}
	b.End()
	return &b
}

// member asks the kernel for the element of a key: nil when there is none.
func member(s *set, key []byte) (*element, error) {
	socket, err := nfnl.Dial(0)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	var found *element
	err = socket.Get(elementsRequest(s, key), func(m nfnl.Message) error {
		for _, b := range nfnl.Attrs(nfnl.Attr(m.Attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			e := decodeElement(b)
			found = &e
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into set %s of table %s %s: %w", s.name, s.table.familyName(), s.table.name, err)
	}
	return found, nil
}
