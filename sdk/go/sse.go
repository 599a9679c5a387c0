package authsvc

import (
	"errors"
	"strings"
	"unicode/utf8"
)

const maxEventBytes = 1 << 20

// parser cuts a stream into server-sent events (HTML Living Standard, section 9.2). A chunk may end anywhere, inside a
// character or between CR and LF too. The parser ignores comments, unknown fields, `id` and `retry`, and events without
// a name. It deviates from the standard in two points, so that a feed of changes loses none: broken characters are an
// error, and a named event without data is an event too.
type parser struct {
	started bool
	afterCR bool   // a line feed that comes next belongs to this CR
	line    []byte // the beginning of a line that has no end yet
	name    string
	data    []string
	size    int // of the event so far
}

// feed calls apply for each event that the chunk completes.
func (p *parser) feed(chunk []byte, apply func(name, data string) error) error {
	for _, char := range chunk {
		p.size++
		switch {
		case p.size > maxEventBytes:
			return errors.New("an event without an end")
		case char == '\n' && p.afterCR:
		case char == '\n' || char == '\r':
			if err := p.take(string(p.line), apply); err != nil {
				return err
			}
			p.line = p.line[:0]
		default:
			p.line = append(p.line, char)
		}
		p.afterCR = char == '\r'
	}
	return nil
}

func (p *parser) take(line string, apply func(name, data string) error) error {
	if !p.started {
		line = strings.TrimPrefix(line, "\ufeff") // a byte order mark
		p.started = true
	}
	if !utf8.ValidString(line) {
		return errors.New("a broken character")
	}
	field, value, _ := strings.Cut(line, ":") // a comment is a field without a name
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "":
		name, data := p.name, strings.Join(p.data, "\n")
		p.name, p.data, p.size = "", nil, 0
		if name != "" {
			return apply(name, data)
		}
	case field == "event":
		p.name = value
	case field == "data":
		p.data = append(p.data, value)
	}
	return nil
}
