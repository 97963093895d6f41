// A shop: its checkout asks the inventory over HTTP. It knows nothing of Sonde, of OpenTelemetry, or of being traced; like many
// services it hands on the headers that its mesh asks it to hand on, traceparent among them.
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

type shop struct {
	inventory string
	client    *http.Client
}

type receipt struct {
	Item  string `json:"item"`
	Stock int    `json:"stock"`
	Total string `json:"total"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	inventory := flag.String("inventory", "", "address of the inventory")
	flag.Parse()
	s := &shop{inventory: *inventory, client: &http.Client{Timeout: 2 * time.Second}}

	mux := http.NewServeMux()
	mux.HandleFunc("/checkout", s.checkout)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })

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

func (s *shop) checkout(w http.ResponseWriter, r *http.Request) {
	item := r.URL.Query().Get("item")
	stock, status, err := s.stock(r, item)
	if err != nil {
		http.Error(w, "the inventory does not answer", http.StatusBadGateway)
		return
	}
	if status != http.StatusOK {
		http.Error(w, "no such item", status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(receipt{Item: item, Stock: stock, Total: "12.50"})
}

func (s *shop) stock(incoming *http.Request, item string) (int, int, error) {
	request, err := http.NewRequestWithContext(incoming.Context(), "GET", "http://"+s.inventory+"/stock/"+item, nil)
	if err != nil {
		return 0, 0, err
	}
	for _, name := range []string{"traceparent", "tracestate", "x-request-id"} {
		if value := incoming.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	var answer struct{ Stock int }
	if response.StatusCode == http.StatusOK {
		err = json.NewDecoder(response.Body).Decode(&answer)
	}
	io.Copy(io.Discard, response.Body)
	return answer.Stock, response.StatusCode, err
}
