// The load generator: a fixed number of clients, each on connections of its own, each sending its
// next request when the answer to the last one has come. It writes one JSON object: what was
// answered, how fast, and what went wrong.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"os"
	"strings"
	"sync"
	"time"
)

// options say what is sent, by how many clients, and for how long.
type options struct {
	addresses []string
	path      string
	kind      string
	model     string
	headers   string
	stream    bool
	clients   int
	pieces    int
	duration  time.Duration
	ramp      time.Duration
	deadline  time.Duration
}

func main() {
	asked := flags()
	clients := make([]*client, asked.clients)
	for i := range clients {
		clients[i] = newClient(asked, i)
		if err := clients[i].dial(); err != nil {
			log.Fatal(err)
		}
	}
	run(asked, clients)
	if err := json.NewEncoder(os.Stdout).Encode(summarise(asked, clients)); err != nil {
		log.Fatal(err)
	}
}

func flags() options {
	var o options
	addresses := flag.String("address", "", "host:port to send to; of several, separated by commas, each client takes one after the other")
	flag.StringVar(&o.path, "path", "/v1/chat/completions", "path to ask for")
	flag.StringVar(&o.kind, "kind", "chat", "body to send: chat, embeddings, completions or none (a GET)")
	flag.StringVar(&o.model, "model", "mock", "model to ask for")
	flag.StringVar(&o.headers, "headers", "", "further header lines, separated by |; {client} stands for the client's number")
	flag.BoolVar(&o.stream, "stream", false, "ask for a stream")
	flag.IntVar(&o.clients, "clients", 1, "how many clients")
	flag.IntVar(&o.pieces, "pieces", 0, "pieces of text that each answer must hold")
	flag.DurationVar(&o.duration, "duration", time.Second, "when the last request may start")
	flag.DurationVar(&o.ramp, "ramp", 0, "time over which the clients start, evenly")
	flag.DurationVar(&o.deadline, "deadline", time.Minute, "longest wait for one answer")
	flag.Parse()
	o.addresses = strings.Split(*addresses, ",")
	o.headers = strings.ReplaceAll(o.headers, "|", "\r\n")
	return o
}

// run lets every client work until the time is over and waits for the last answers.
func run(asked options, clients []*client) {
	start := time.Now()
	window := window{start.Add(asked.ramp), start.Add(asked.duration)}
	var working sync.WaitGroup
	for i, c := range clients {
		working.Add(1)
		go func(c *client, delay time.Duration) {
			defer working.Done()
			time.Sleep(delay)
			c.work(window)
		}(c, asked.ramp*time.Duration(i)/time.Duration(len(clients)))
	}
	working.Wait()
}

// window is the time in which answers and pieces are counted for the rates: from when all
// clients have started until the first of them stops.
type window struct{ from, to time.Time }

func (w window) holds(now time.Time) bool { return now.After(w.from) && now.Before(w.to) }
