// A closed-loop load generator: every connection has exactly one request in flight. It writes the requests itself, so that the
// headers stand exactly as told: twelve of them, 1.2 KB, traceparent last and new with every request.
//
// Commands come as JSON lines on standard input, answers as JSON lines on standard output:
//
//	{"address": "127.0.0.1:80", "path": "/work", "connections": 32, "milliseconds": 2000, "requests": 0}
//	{"requests": 51234, "errors": 0, "seconds": 2.0, "p50Micros": 1210.5, "p99Micros": 3400.1}
//
// With "requests" it ends after so many in all; else when the time is over, with every request answered.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type command struct {
	Address      string `json:"address"`
	Path         string `json:"path"`
	Connections  int    `json:"connections"`
	Milliseconds int64  `json:"milliseconds"`
	Requests     int64  `json:"requests"`
}

type report struct {
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	Seconds   float64 `json:"seconds"`
	P50Micros float64 `json:"p50Micros"`
	P99Micros float64 `json:"p99Micros"`
	Error     string  `json:"error,omitempty"`
}

const headBytes = 1200

// The request line, twelve headers, the last of them traceparent; padded to headBytes.
func head(address, path string) (request []byte, traceAt int) {
	lines := []string{
		"GET " + path + " HTTP/1.1",
		"Host: " + address,
		"User-Agent: sonde-bench/1.0",
		"Accept: application/json",
		"Accept-Language: en-GB,en;q=0.8",
		"Cache-Control: no-cache",
		"X-Forwarded-For: 10.1.2.3, 10.4.5.6",
		"X-Forwarded-Proto: https",
		"X-Request-Id: 6f1c1f0e-8f1b-4b0e-9d58-2f1a9d2c7d11",
		"Authorization: Bearer " + strings.Repeat("t", 180),
		"Cookie: ",
		"X-Envoy-Attempt-Count: 1",
		"traceparent: 00-",
	}
	const traceTail = 32 + 1 + 16 + len("-01\r\n\r\n")
	size := len(strings.Join(lines, "\r\n")) + traceTail
	lines[10] += strings.Repeat("c", headBytes-size)
	text := strings.Join(lines, "\r\n")
	return []byte(text + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-01\r\n\r\n"), len(text)
}

func fill(request []byte, traceAt int, random *rand.Rand) {
	var id [24]byte
	binary.LittleEndian.PutUint64(id[0:], random.Uint64()|1)
	binary.LittleEndian.PutUint64(id[8:], random.Uint64())
	binary.LittleEndian.PutUint64(id[16:], random.Uint64()|1)
	hex.Encode(request[traceAt:], id[:16])
	hex.Encode(request[traceAt+33:], id[16:])
}

var errAnswer = errors.New("the answer is not 200 with a Content-Length")

// Reads one answer to its last byte.
func answer(reader *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return errAnswer
		}
		if len(line) <= 2 {
			break
		}
		const name = "Content-Length: "
		if len(line) > len(name) && string(line[:len(name)]) == name {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errAnswer
	}
	_, err := reader.Discard(length)
	return err
}

type connection struct {
	net.Conn
	reader  *bufio.Reader
	micros  []float32
	request []byte
	traceAt int
	random  *rand.Rand
}

func open(c command, seed int64) (*connection, error) {
	conn, err := net.Dial("tcp", c.Address)
	if err != nil {
		return nil, err
	}
	request, traceAt := head(c.Address, c.Path)
	return &connection{conn, bufio.NewReaderSize(conn, 4096), make([]float32, 0, 1<<14), request, traceAt,
		rand.New(rand.NewSource(seed))}, nil
}

func (c *connection) ask() error {
	fill(c.request, c.traceAt, c.random)
	start := time.Now()
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	if err := answer(c.reader); err != nil {
		return err
	}
	c.micros = append(c.micros, float32(time.Since(start).Nanoseconds())/1000)
	return nil
}

func run(c command) report {
	connections := make([]*connection, 0, c.Connections)
	for i := 0; i < c.Connections; i++ {
		opened, err := open(c, time.Now().UnixNano()+int64(i)*7919)
		if err != nil {
			return report{Error: err.Error()}
		}
		defer opened.Close()
		connections = append(connections, opened)
	}
	var started, failed int64
	start := time.Now()
	deadline := start.Add(time.Duration(c.Milliseconds) * time.Millisecond)
	more := func() bool {
		if c.Requests > 0 {
			return atomic.AddInt64(&started, 1) <= c.Requests
		}
		return time.Now().Before(deadline)
	}
	var wait sync.WaitGroup
	for _, opened := range connections {
		wait.Add(1)
		go func(connection *connection) {
			defer wait.Done()
			for more() {
				if err := connection.ask(); err != nil {
					atomic.AddInt64(&failed, 1)
					return
				}
			}
		}(opened)
	}
	wait.Wait()
	seconds := time.Since(start).Seconds()
	var all []float32
	for _, connection := range connections {
		all = append(all, connection.micros...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	result := report{Requests: int64(len(all)), Errors: failed, Seconds: seconds}
	if len(all) > 0 {
		result.P50Micros = float64(all[len(all)/2])
		result.P99Micros = float64(all[len(all)*99/100])
	}
	return result
}

func main() {
	decoder := json.NewDecoder(os.Stdin)
	encoder := json.NewEncoder(os.Stdout)
	fmt.Println("ready")
	for {
		var c command
		if err := decoder.Decode(&c); err == io.EOF {
			return
		} else if err != nil {
			encoder.Encode(report{Error: err.Error()})
			os.Exit(1)
		}
		if c.Connections < 1 {
			c.Connections = 1
		}
		encoder.Encode(run(c))
	}
}
