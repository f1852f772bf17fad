package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// request is what the mock needs to know of a request; it is also the key of the formatted reply.
type request struct {
	path     string
	model    string
	stream   bool
	usage    bool
	function bool
	pieces   int
	interval time.Duration
}

// Decoding a body of 10 KB costs more than answering it. A quote inside a JSON string is escaped,
// so an unescaped key found by its bytes is a key of the request.
var (
	modelKey    = regexp.MustCompile(`"model": ?"([^"]*)"`)
	streamKey   = regexp.MustCompile(`"stream": ?true`)
	usageKey    = regexp.MustCompile(`"include_usage": ?true`)
	functionKey = regexp.MustCompile(`"name": ?"send_message"`)
	toolsKey    = []byte(`"tools":`)
)

func parse(path string, body []byte) request {
	asked := request{path: path, pieces: 4}
	if !strings.HasSuffix(path, "/completions") {
		return asked
	}
	if match := modelKey.FindSubmatch(body); match != nil {
		asked.model = string(match[1])
	}
	asked.stream = streamKey.Match(body)
	asked.usage = usageKey.Match(body)
	asked.function = bytes.Contains(body, toolsKey) && functionKey.Match(body)
	asked.pace()
	return asked
}

// pace reads the number of pieces and the milliseconds between them out of the model's name.
func (r *request) pace() {
	var pieces, milliseconds int
	if _, err := fmt.Sscanf(r.model, "mock-%dx%dms", &pieces, &milliseconds); err == nil {
		r.pieces = pieces
		r.interval = time.Duration(milliseconds) * time.Millisecond
	}
}
