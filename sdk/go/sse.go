package authsvc

import (
	"bytes"
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
	size    int
}

// feed calls apply for each event that the chunk completes.
func (p *parser) feed(chunk []byte, apply func(name, data string) error) error {
	if len(chunk) == 0 {
		return nil
	}
	endsWithCR := chunk[len(chunk)-1] == '\r'
	if p.afterCR {
		chunk = bytes.TrimPrefix(chunk, []byte("\n"))
	}
	p.afterCR = endsWithCR
	for {
		end := bytes.IndexAny(chunk, "\r\n")
		if end < 0 {
			break
		}
		line := append(p.line, chunk[:end]...)
		width := 1
		if bytes.HasPrefix(chunk[end:], []byte("\r\n")) {
			width = 2
		}
		chunk, p.line = chunk[end+width:], p.line[:0]
		if err := p.take(line, apply); err != nil {
			return err
		}
	}
	p.line = append(p.line, chunk...)
	return p.check(len(p.line))
}

func (p *parser) take(line []byte, apply func(name, data string) error) error {
	if !p.started {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // a byte order mark
		p.started = true
	}
	if len(line) > 0 {
		return p.takeField(line)
	}
	name, data := p.name, strings.Join(p.data, "\n")
	p.name, p.data, p.size = "", nil, 0
	if name == "" {
		return nil
	}
	return apply(name, data)
}

func (p *parser) takeField(line []byte) error {
	if !utf8.Valid(line) {
		return brokenFeed("a broken character")
	}
	field, value, _ := strings.Cut(string(line), ":") // a comment is a field without a name
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "event":
		p.name = value
	case "data":
		p.data = append(p.data, value)
		p.size += len(line)
	}
	return p.check(0)
}

func (p *parser) check(more int) error {
	if p.size+more > maxEventBytes {
		return brokenFeed("an event without an end")
	}
	return nil
}
