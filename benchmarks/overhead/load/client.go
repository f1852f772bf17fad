package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"time"
)

const mostErrors = 20

var errText = errors.New("the answer does not hold the text that the backend sent")

// The first event that carries text, in an answer of either completions endpoint.
var textKey = regexp.MustCompile(`"(content|text)": ?"[^"]`)

// route is a connection to one of the addresses.
type route struct {
	address string
	net     net.Conn
	reader  *bufio.Reader
}

func (r *route) dial() error {
	connection, err := net.Dial("tcp", r.address)
	if err != nil {
		return err
	}
	r.net, r.reader = connection, bufio.NewReaderSize(connection, 32<<10)
	return nil
}

// client asks by its routes in turn, with a request that it repeats; it keeps what it has seen.
type client struct {
	asked    options
	message  *message
	routes   []*route
	turn     int
	latency  []time.Duration
	first    []time.Duration
	answers  int // in the window
	received int // pieces of text in the window
	errors   int
	failure  string
}

func newClient(asked options, number int) *client {
	made := &client{asked: asked, message: newMessage(asked, number), turn: number}
	for _, address := range asked.addresses {
		made.routes = append(made.routes, &route{address: address})
	}
	return made
}

func (c *client) dial() error {
	for _, route := range c.routes {
		if err := route.dial(); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) next() *route {
	c.turn++
	return c.routes[c.turn%len(c.routes)]
}

// work asks again and again until the window closes. The first of the errors is kept.
func (c *client) work(counted window) {
	for time.Now().Before(counted.to) && c.errors < mostErrors {
		route := c.next()
		if err := c.ask(route, counted); err != nil {
			c.fail(err)
			route.net.Close()
			if route.dial() != nil {
				return
			}
		}
	}
	for _, route := range c.routes {
		route.net.Close()
	}
}

func (c *client) fail(err error) {
	c.errors++
	if c.failure == "" {
		c.failure = err.Error()
	}
}

func (c *client) ask(route *route, counted window) error {
	start := time.Now()
	if err := route.net.SetDeadline(start.Add(c.asked.deadline)); err != nil {
		return err
	}
	if _, err := route.net.Write(c.message.next()); err != nil {
		return err
	}
	response, err := http.ReadResponse(route.reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return refused(response)
	}
	if err := c.read(response.Body, start, counted); err != nil {
		return err
	}
	c.latency = append(c.latency, time.Since(start))
	if counted.holds(time.Now()) {
		c.answers++
	}
	return closed(response)
}

// read takes the answer line by line: an event of a stream is there when its line is.
func (c *client) read(body io.Reader, start time.Time, counted window) error {
	lines, pieces := bufio.NewReaderSize(body, 32<<10), 0
	for {
		line, err := lines.ReadSlice('\n')
		if pieces == 0 && c.asked.stream && textKey.Match(line) {
			c.first = append(c.first, time.Since(start))
		}
		found := bytes.Count(line, []byte("word"))
		pieces += found
		if found > 0 && counted.holds(time.Now()) {
			c.received += found
		}
		if err == io.EOF && pieces == c.asked.pieces {
			return nil
		}
		if err == io.EOF {
			return errText
		}
		if err != nil {
			return err
		}
	}
}

func refused(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, 500))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", response.Status, body)
}

func closed(response *http.Response) error {
	if response.Close {
		return errors.New("the server closed the connection")
	}
	return nil
}
