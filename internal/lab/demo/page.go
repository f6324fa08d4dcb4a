package main

import "strings"

// pageTitle is the title of the page that a fresh nginx shows.
const pageTitle = "Welcome to nginx!"

// title is the title of an HTML page, or "" where it has none.
func title(page string) string {
	_, rest, _ := strings.Cut(page, "<title>")
	text, _, found := strings.Cut(rest, "</title>")
	if !found {
		return ""
	}
	return strings.TrimSpace(text)
}
