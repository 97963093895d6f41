// The same few routes with echo: what the wire shows must not depend on the framework.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

func main() {
	router := echo.New()
	router.GET("/fast", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	router.GET("/users/:id", func(c echo.Context) error {
		return c.JSON(http.StatusOK, map[string]any{"id": c.Param("id")})
	})
	router.POST("/echo", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest, err.Error())
		}
		return c.Blob(http.StatusOK, "application/octet-stream", body)
	})
	router.GET("/panic", func(c echo.Context) error { panic("boom") })
	// Its recovery answers 500 where net/http would close the connection.
	router.GET("/recovering/panic", func(c echo.Context) error { panic("boom") }, middleware.Recover())
	// ?url= says where to.
	router.GET("/call", func(c echo.Context) error {
		response, err := http.Get(c.QueryParam("url"))
		if err != nil {
			return echo.NewHTTPError(http.StatusBadGateway, err.Error())
		}
		response.Body.Close()
		return c.JSON(http.StatusOK, map[string]any{"status": response.StatusCode})
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, router))
}
