// The service that is measured: a fixed amount of work, a small JSON answer.
//
// `-calibrate 20us` prints how many rounds of work take so long here and exits; all modes then run with the same `-rounds`.
// Built with the tag `sdk` it carries the OpenTelemetry Go SDK, otherwise nothing.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

type answer struct {
	Name   string  `json:"name"`
	Price  float64 `json:"price"`
	Stock  int     `json:"stock"`
	Digest uint64  `json:"digest"`
}

func work(rounds int) uint64 {
	digest := uint64(1469598103934665603)
	for i := 0; i < rounds; i++ {
		digest = (digest ^ uint64(i&0xff)) * 1099511628211
	}
	return digest
}

// The least of many tries: what the work costs when nobody interrupts it.
func calibrate(target time.Duration) int {
	const sample = 1 << 20
	best := time.Duration(1 << 62)
	var sink uint64
	for try := 0; try < 20; try++ {
		start := time.Now()
		sink += work(sample)
		if took := time.Since(start); took < best {
			best = took
		}
	}
	if sink == 0 {
		log.Print("unlikely")
	}
	return int(int64(sample) * int64(target) / int64(best))
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	rounds := flag.Int("rounds", 20000, "rounds of work for one request")
	target := flag.Duration("calibrate", 0, "print the rounds that take so long, and exit")
	downstream := flag.String("downstream", "", "address that /call asks once for each request")
	flag.Parse()
	if *target > 0 {
		fmt.Println(calibrate(*target))
		return
	}

	// Connections are kept, as a busy service keeps them: two a host, the default, would measure connecting.
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	mux := http.NewServeMux()
	mux.Handle("/work", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer{Name: "tea", Price: 12.5, Stock: 40, Digest: work(*rounds)})
	}))
	mux.Handle("/call", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get("http://" + *downstream + "/plain")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer{Name: "tea", Price: 12.5, Stock: 40, Digest: work(*rounds)})
	}))
	mux.Handle("/plain", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") }))

	handler, err := instrument(mux)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	if err := http.Serve(listener, handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
