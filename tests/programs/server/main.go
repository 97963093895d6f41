// A net/http server with one handler for each case that capture must get right. Compiles with Go 1.17.
//
// It prints "listening <address>" when ready. Answers are deterministic, so that tests can assert every field.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	quiet := flag.Bool("quiet", false, "do not print what net/http logs (panics)")
	flag.Parse()

	mux := http.NewServeMux()
	registerAnswers(mux)
	registerEndings(mux)
	registerCalls(mux)

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	if *quiet {
		server.ErrorLog = log.New(discard{}, "", 0)
	}
	fmt.Println("listening", listener.Addr())
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func writeJSON(w http.ResponseWriter, value interface{}) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}
