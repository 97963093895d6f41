package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

type callResult struct {
	Status int    `json:"status"`
	Bytes  int    `json:"bytes"`
	Error  string `json:"error,omitempty"`
	Goid   uint64 `json:"goid"` // of the goroutine that called
}

// call sends one request and reads the whole answer.
func call(ctx context.Context, method, url string, body []byte) callResult {
	result := callResult{Goid: goid()}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		result.Error = err.Error()
		return result
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	defer response.Body.Close()
	result.Status = response.StatusCode
	answer, err := io.ReadAll(response.Body)
	result.Bytes = len(answer)
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// absent returns the same error with an itab of its own, in a page that the process has and has not touched since: shared
// memory keeps what it held when it is dropped.
func absent(err error) error {
	const itabBytes = 32 // of one method
	page, failed := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_SHARED|syscall.MAP_ANON)
	if failed != nil {
		panic(failed)
	}
	value := (*struct{ itab, data unsafe.Pointer })(unsafe.Pointer(&err))
	copy(page, (*[itabBytes]byte)(value.itab)[:])
	if failed := syscall.Madvise(page, syscall.MADV_DONTNEED); failed != nil {
		panic(failed)
	}
	value.itab = unsafe.Pointer(&page[0])
	return err
}

// Client calls. ?url= says where to, ?method= how, ?bytes= with a body of how many, ?ms= with which timeout.
func registerCalls(mux *http.ServeMux) {
	prepare := func(r *http.Request) (context.Context, context.CancelFunc, string, string, []byte) {
		query := r.URL.Query()
		method := query.Get("method")
		if method == "" {
			method = http.MethodGet
		}
		ctx, cancel := r.Context(), context.CancelFunc(func() {})
		if ms := number(r, "ms", 0); ms > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		}
		return ctx, cancel, method, query.Get("url"), bytes.Repeat([]byte("r"), number(r, "bytes", 0))
	}
	// On the handler's own goroutine.
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel, method, url, body := prepare(r)
		defer cancel()
		writeJSON(w, call(ctx, method, url, body))
	})
	// Through a dialer that gives up after ?dialms=.
	mux.HandleFunc("/call-dial", func(w http.ResponseWriter, r *http.Request) {
		dialer := net.Dialer{Timeout: time.Duration(number(r, "dialms", 20)) * time.Millisecond}
		transport := &http.Transport{DialContext: dialer.DialContext}
		defer transport.CloseIdleConnections()
		result := callResult{Goid: goid()}
		request, _ := http.NewRequestWithContext(r.Context(), http.MethodPut, r.URL.Query().Get("url"), nil)
		if response, err := transport.RoundTrip(request); err != nil {
			result.Error = err.Error()
		} else {
			response.Body.Close()
			result.Status = response.StatusCode
		}
		writeJSON(w, result)
	})
	// Through a dialer that fails at once with ?error=, whose type lies in a page that is not in memory.
	mux.HandleFunc("/call-absent-error", func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch r.URL.Query().Get("error") {
		case "timeout":
			err = absent(context.DeadlineExceeded)
		case "canceled":
			err = absent(context.Canceled)
		case "text":
			err = absent(errors.New("the dialer does not like it"))
		case "refused":
			system := &os.SyscallError{Syscall: "connect", Err: absent(syscall.ECONNREFUSED)}
			err = &net.OpError{Op: "dial", Net: "tcp", Err: system}
		case "wrapped":
			err = absent(&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
		case "name":
			err = absent(&net.DNSError{Err: "no such host", Name: "shop"})
		}
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, err
		}}
		request, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.Query().Get("url"), nil)
		_, failed := transport.RoundTrip(request)
		writeJSON(w, callResult{Error: failed.Error(), Goid: goid()})
	})
	// On a goroutine that the handler started.
	mux.HandleFunc("/call-child", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel, method, url, body := prepare(r)
		defer cancel()
		results := make(chan callResult)
		go func() { results <- call(ctx, method, url, body) }()
		writeJSON(w, <-results)
	})
	// ?n=3 calls at once, each on a goroutine of its own.
	mux.HandleFunc("/call-many", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel, method, url, body := prepare(r)
		defer cancel()
		n := number(r, "n", 3)
		results := make(chan callResult, n)
		for i := 0; i < n; i++ {
			go func() { results <- call(ctx, method, url, body) }()
		}
		all := []callResult{}
		for i := 0; i < n; i++ {
			all = append(all, <-results)
		}
		writeJSON(w, all)
	})
	// Cancelled by the caller after ?ms=.
	mux.HandleFunc("/call-cancel", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		timer := time.AfterFunc(time.Duration(number(r, "ms", 20))*time.Millisecond, cancel)
		defer timer.Stop()
		writeJSON(w, call(ctx, http.MethodGet, r.URL.Query().Get("url"), nil))
	})
	// The parent's goroutine and its child's, as text.
	mux.HandleFunc("/goid-child", func(w http.ResponseWriter, r *http.Request) {
		child := make(chan uint64)
		go func() { child <- goid() }()
		io.WriteString(w, strconv.FormatUint(goid(), 10)+" "+strconv.FormatUint(<-child, 10))
	})
}
