package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

type object = map[string]any

const identity = "chatcmpl-mock"

// format makes the response to every request that asks for the same.
func format(asked request) *reply {
	switch {
	case asked.stream:
		return paced(asked)
	case strings.HasSuffix(asked.path, "/chat/completions"):
		return whole(completion(asked))
	case strings.HasSuffix(asked.path, "/models"):
		return whole(models())
	default:
		return whole(object{"object": "list", "model": "mock", "data": []object{
			{"object": "embedding", "index": 0, "embedding": []float64{0.25, -0.5, 0.75}}}})
	}
}

func whole(answer object) *reply {
	body := encode(answer)
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	return &reply{writes: [][]byte{append([]byte(head), body...)}}
}

func models() object {
	return object{"object": "list", "data": []object{
		{"id": "mock", "object": "model", "created": 1, "owned_by": "mock"},
		{"id": "mock-100x10ms", "object": "model", "created": 1, "owned_by": "mock"}}}
}

func completion(asked request) object {
	message, reason := object{"role": "assistant", "content": text(asked)}, "stop"
	if asked.function {
		call := sendMessage(string(encode(object{"message": text(asked)})))
		message, reason = object{"role": "assistant", "content": nil, "tool_calls": []object{call}}, "tool_calls"
	}
	return object{"id": identity, "object": "chat.completion", "created": 1, "model": asked.model,
		"choices": []object{{"index": 0, "message": message, "finish_reason": reason}}, "usage": usage(asked)}
}

// paced cuts a stream into its writes. The first opens the response and has the first piece of
// text; the last has the last piece and all that ends the stream. With no interval there is one.
func paced(asked request) *reply {
	writes := make([][]byte, asked.pieces)
	for i := range writes {
		writes[i] = event(chunk(asked, piece(asked, i), ""))
	}
	writes[0] = append(opening(asked), writes[0]...)
	last := asked.pieces - 1
	writes[last] = append(writes[last], ending(asked)...)
	for i := range writes {
		writes[i] = framed(writes[i])
	}
	writes[0] = append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+
		"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"), writes[0]...)
	writes[last] = append(writes[last], "0\r\n\r\n"...)
	if asked.interval == 0 {
		writes = [][]byte{bytes.Join(writes, nil)}
	}
	return &reply{writes: writes, interval: asked.interval}
}

func opening(asked request) []byte {
	if !chat(asked) {
		return nil
	}
	delta := object{"role": "assistant", "content": ""}
	if asked.function {
		delta = object{"role": "assistant", "content": nil, "tool_calls": []object{sendMessage(`{"message": "`)}}
	}
	return event(chunk(asked, delta, ""))
}

func ending(asked request) []byte {
	var end []byte
	reason := "stop"
	if asked.function {
		end, reason = event(chunk(asked, arguments(`"}`), "")), "tool_calls"
	}
	end = append(end, event(chunk(asked, object{}, reason))...)
	if asked.usage {
		final := chunk(asked, object{}, "")
		final["choices"], final["usage"] = []object{}, usage(asked)
		end = append(end, event(final)...)
	}
	return append(end, "data: [DONE]\n\n"...)
}

// chunk puts a delta into a chat chunk or, for the older endpoint, its content into a text chunk.
func chunk(asked request, delta object, reason string) object {
	choice := object{"index": 0, "finish_reason": nil}
	kind := "chat.completion.chunk"
	if chat(asked) {
		choice["delta"] = delta
	} else {
		text, _ := delta["content"].(string)
		kind, choice["text"] = "text_completion", text
	}
	if reason != "" {
		choice["finish_reason"] = reason
	}
	return object{"id": identity, "object": kind, "created": 1, "model": asked.model, "choices": []object{choice}}
}

func piece(asked request, i int) object {
	if asked.function {
		return arguments(word(i))
	}
	return object{"content": word(i)}
}

func sendMessage(arguments string) object {
	return object{"index": 0, "id": "call_mock", "type": "function",
		"function": object{"name": "send_message", "arguments": arguments}}
}

func arguments(more string) object {
	return object{"tool_calls": []object{{"index": 0, "function": object{"arguments": more}}}}
}

func word(i int) string { return fmt.Sprintf("word%d ", i) }

func text(asked request) string {
	var words strings.Builder
	for i := 0; i < asked.pieces; i++ {
		words.WriteString(word(i))
	}
	return words.String()
}

func usage(asked request) object {
	return object{"prompt_tokens": 100, "completion_tokens": asked.pieces, "total_tokens": 100 + asked.pieces}
}

func chat(asked request) bool { return strings.HasSuffix(asked.path, "/chat/completions") }

func event(value object) []byte { return append(append([]byte("data: "), encode(value)...), "\n\n"...) }

func framed(data []byte) []byte { return []byte(fmt.Sprintf("%x\r\n%s\r\n", len(data), data)) }

// encode cannot fail: what it is given are maps of strings and numbers made in this file.
func encode(value object) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}
