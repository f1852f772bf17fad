package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const digits = 20

// message is a formatted request in which only the number in the newest message changes, so that
// making the next one is writing digits and no two of any run are the same.
type message struct {
	data   []byte
	number []byte // within data; empty when the request has no number
	count  int64
}

func newMessage(asked options, client int) *message {
	slot := fmt.Sprintf("%0*d", digits, 0)
	body := body(asked, client, slot)
	method := "POST"
	if body == nil {
		method = "GET"
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n",
		method, asked.path, asked.addresses[0], len(body))
	if asked.headers != "" {
		head += strings.ReplaceAll(asked.headers, "{client}", strconv.Itoa(client)) + "\r\n"
	}
	made := &message{data: append([]byte(head+"\r\n"), body...), count: time.Now().UnixNano()}
	if at := bytes.Index(made.data, []byte(slot)); at >= 0 {
		made.number = made.data[at : at+digits]
	}
	return made
}

func (m *message) next() []byte {
	m.count++
	for i, rest := len(m.number)-1, m.count; i >= 0; i-- {
		m.number[i] = byte('0' + rest%10)
		rest /= 10
	}
	return m.data
}

// body is a short conversation: the client's own beginning, then a message that is always new.
func body(asked options, client int, slot string) []byte {
	newest := fmt.Sprintf("And what should I bring along for visit %s to the amusement park?", slot)
	request := map[string]any{"model": asked.model}
	switch asked.kind {
	case "chat":
		request["messages"] = conversation(client, newest)
	case "embeddings":
		request["input"] = newest
	case "completions":
		request["prompt"] = newest
	default:
		return nil
	}
	if asked.stream {
		request["stream"] = true
	}
	data, err := json.Marshal(request)
	if err != nil {
		panic(err) // strings and booleans can always be encoded
	}
	return data
}

func conversation(client int, newest string) []map[string]string {
	opening := fmt.Sprintf("Hello, I am visitor %d. Where should we go on the first weekend of spring?", client)
	return []map[string]string{
		{"role": "user", "content": opening},
		{"role": "assistant", "content": "Six Flags opens its gates again that weekend; the queues are short."},
		{"role": "user", "content": newest},
	}
}
