//go:build vm

package checks

import "testing"

func TestInstall(t *testing.T) { t.Log("hello") }
func TestBooted(t *testing.T) {}
