package config

import "slices"

// maxAlike bounds the search for a list that is the same. Few are in use at a time.
const maxAlike = 8

// alike is the last lists that differ: relays are many, and few of their lists do. Nobody may change a list that is shared.
type alike[T comparable] [][]T

// share returns the list, or the same one of another table.
func (a *alike[T]) share(list []T) []T {
	if len(list) == 0 {
		return list
	}
	for _, known := range *a {
		if slices.Equal(known, list) {
			return known
		}
	}
	if len(*a) == maxAlike {
		*a = (*a)[1:]
	}
	*a = append(*a, slices.Clip(list))
	return list
}
