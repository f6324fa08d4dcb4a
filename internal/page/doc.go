// Package page is the status page of natd: what "natctl status" says, in a browser, with the way of each relay drawn from client to
// target. It is read-only and keeps nothing but the counts of the last status, from which it has the rates.
//
// The address holds all that a reader has chosen, so that a page can be reloaded, kept and passed on, also without JavaScript:
//
//	/?q=web            only what holds "web": in its name, its addresses or its reason
//	/?show=unwell      only what is not ready
//	/?open=web,db      the picture and the backends of these; left out = of what is not ready
//	/?part=main        the part of the page that changes, for its own script
//	/status.json       the document that "natctl status --json" prints
//
// # Safety
//
// The page loads nothing: style, script and icon are in it, and its Content-Security-Policy allows those by their hashes and no other.
// Every text of a status goes through html/template. Only GET and HEAD are answered.
package page
