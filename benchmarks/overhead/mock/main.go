// The mock backend: an OpenAI-compatible server whose answers are formatted beforehand.
//
// The model's name sets the pace of a stream: "mock" sends everything at once, "mock-100x10ms"
// sends 100 pieces of text, 10 ms apart, one write each. A request whose tools hold send_message
// is answered with a call of it, any other with plain content.
package main

import (
	"bufio"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	backend := &backend{}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go backend.serve(connection)
	}
}

// backend keeps every reply it has formatted, by what the request asked for.
type backend struct{ replies sync.Map }

// serve answers the requests of one connection, in order, until the peer closes it.
func (b *backend) serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64<<10)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		if b.reply(request.URL.Path, body).send(connection) != nil || request.Close {
			return
		}
	}
}

func (b *backend) reply(path string, body []byte) *reply {
	asked := parse(path, body)
	if known, ok := b.replies.Load(asked); ok {
		return known.(*reply)
	}
	made := format(asked)
	b.replies.Store(asked, made)
	return made
}

// reply is a whole HTTP response, cut into the writes that send it.
type reply struct {
	writes   [][]byte
	interval time.Duration
}

// send writes on a schedule fixed at the start, so that a late write does not delay the next.
func (r *reply) send(connection net.Conn) error {
	start := time.Now()
	for i, data := range r.writes {
		if i > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * r.interval)))
		}
		if _, err := connection.Write(data); err != nil {
			return err
		}
	}
	return nil
}
