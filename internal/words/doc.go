// Package words is how states, counts and times are put for people: natctl and the status page say the same of the same.
// Everything in it is a function of its arguments.
package words
