//go:build sdk

package main

import (
	"context"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
)

// As its documentation recommends for production: batches, over OTLP/gRPC, to OTEL_EXPORTER_OTLP_ENDPOINT. The queue is longer
// than the default, so that every request is a span here too.
func instrument(handler http.Handler) (http.Handler, error) {
	exporter, err := otlptracegrpc.New(context.Background())
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(
		trace.WithSampler(trace.AlwaysSample()),
		trace.WithBatcher(exporter, trace.WithMaxQueueSize(1<<16), trace.WithMaxExportBatchSize(2048)))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return otelhttp.NewHandler(handler, "server"), nil
}
