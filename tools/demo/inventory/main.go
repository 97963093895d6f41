// An inventory: how many of an item there are. It thinks a moment about each, and longer about tea.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

var items = map[string]int{"apple": 12, "bread": 3, "tea": 40}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()

	mux := http.NewServeMux()
	mux.HandleFunc("/stock/", stock)

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	if err := http.Serve(listener, mux); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func stock(w http.ResponseWriter, r *http.Request) {
	item := strings.TrimPrefix(r.URL.Path, "/stock/")
	count, known := items[item]
	if !known {
		http.NotFound(w, r)
		return
	}
	pause := 2 * time.Millisecond
	if item == "tea" {
		pause = 15 * time.Millisecond
	}
	time.Sleep(pause)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]int{"stock": count})
}
