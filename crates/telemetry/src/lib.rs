//! Traces as OpenTelemetry has them: what a request cost in the control plane, in the host that it was for, and where
//! in the caller's own trace it belongs.
//!
//! Spans are those of the crate `tracing` with the target [`TARGET`]. Where no exporter was asked for, no subscriber
//! wants that target, and a span is the look at one atomic number: nothing is made, kept or sent.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// Target of the spans that are exported, and of nothing else.
pub const TARGET: &str = "belvedere::trace";

/// How long a process that ends waits for its last spans to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// Sends spans to a collector in batches, from a thread of its own. What a slow collector does not take is dropped
/// when 2,048 spans wait.
///
/// The environment variables of the OpenTelemetry specification for headers (`OTEL_EXPORTER_OTLP_HEADERS`), sampling
/// (`OTEL_TRACES_SAMPLER`), batches (`OTEL_BSP_…`) and resources (`OTEL_RESOURCE_ATTRIBUTES`) hold.
pub struct Exporter(SdkTracerProvider);

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to {endpoint}")]
pub struct NoExporter {
    endpoint: String,
    source: ExporterBuildError,
}

impl Exporter {
    /// Exports by OTLP over HTTP to the collector at `endpoint`, as protobuf below its `/v1/traces` (OTLP 1.x,
    /// section "OTLP/HTTP Request"), in the name of `service`. To be made outside of an asynchronous runtime.
    ///
    /// # Errors
    ///
    /// `endpoint` is no `http` or `https` URL, or a variable of the environment is not understood.
    pub fn new(endpoint: &str, service: &'static str, version: &'static str) -> Result<Self, NoExporter> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .map_err(|source| NoExporter { endpoint: endpoint.to_owned(), source })?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(opentelemetry::KeyValue::new("service.version", version))
            .with_attribute(opentelemetry::KeyValue::new("process.pid", i64::from(std::process::id())))
            .build();
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
    }

    /// What hands spans over; to be put beside the log's layer.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("belvedere"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, Level::INFO))
    }

    /// Sends what is left, for at most two seconds.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Makes `span` a child of a span in another process, as its `traceparent` and `tracestate` say (W3C Trace Context).
/// To be called before anything else is done with the span; what is malformed is as if it were not there.
pub fn continue_from(span: &Span, traceparent: &str, tracestate: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    let headers = [("traceparent", Some(traceparent)), ("tracestate", tracestate)];
    let carrier: HashMap<String, String> =
        headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let parent = TraceContextPropagator::new().extract(&carrier);
    let _not_exported = span.set_parent(parent).is_err();
}

/// The `traceparent` of `span`, for whoever continues it; `None` if it is not exported.
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove("traceparent")
}
