//! Traces, as a collector gets them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;

use crate::{Serving, json, signal};

/// The caller's own trace, and its span in it.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes OTLP over HTTP and keeps the spans, each with its service.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
}

impl Collector {
    /// Its thread ends with the test's process.
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let spans: Arc<Mutex<Vec<(String, Span)>>> = Arc::default();
        let kept = Arc::clone(&spans);
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let accept = move || {
            for stream in listener.incoming() {
                let (stream, kept) = (stream.unwrap(), Arc::clone(&kept));
                named("connection").spawn(move || while_open(&stream, &kept)).unwrap();
            }
        };
        named("collector").spawn(accept).unwrap();
        Self { address, spans }
    }

    fn endpoint(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The one span of that service and name.
    fn the(&self, service: &str, name: &str) -> Span {
        let spans = self.spans.lock().unwrap();
        let found: Vec<&Span> = spans
            .iter()
            .filter(|(of, span)| of == service && span.name == name)
            .map(|(_, span)| span)
            .collect();
        let all: Vec<(&str, &str)> =
            spans.iter().map(|(of, span)| (of.as_str(), span.name.as_str())).collect();
        assert_eq!(found.len(), 1, "{service} {name} in {all:?}");
        found[0].clone()
    }
}

/// Answers requests of one connection.
fn while_open(stream: &TcpStream, kept: &Mutex<Vec<(String, Span)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        let mut kept = kept.lock().unwrap();
        for of_resource in request.resource_spans {
            let service = text(&of_resource.resource.unwrap().attributes, "service.name").unwrap();
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.extend(spans.map(|span| (service.clone(), span)));
        }
        drop(kept);
        (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Any> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone().and_then(|AnyValue { value }| value)
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a request that is part of [`TRACE`]. Returns the answer's head and body.
fn ask(serving: &Serving, token: &str, request: &str, body: &str) -> (String, Vec<u8>) {
    let address = serving.ready["http"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         traceparent: 00-{TRACE}-{CALLER}-01\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..head]).into_owned(), answer.split_off(head + 4))
}

/// The answer's `MS-CV`, without its number.
fn vector_base(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("ms-cv: ")).unwrap();
    line.strip_suffix(".0").unwrap().to_owned()
}

#[test]
fn a_request_is_followed_through_the_control_plane_into_its_host() {
    let collector = Collector::start();
    let mut serving = Serving::start(&["serve", "--log=info", "--otlp-endpoint", &collector.endpoint()]);
    let account: Value =
        serde_json::from_slice(&std::fs::read(serving.data.path().join("account.json")).unwrap()).unwrap();
    let id = account["accountId"].as_str().unwrap();
    let key = account["accountKey"].as_str().unwrap();
    let (_, token) = ask(&serving, &format!("{id}:{key}"), &format!("GET /Accounts/{id}/token"), "");
    let token: Value = serde_json::from_slice(&token).unwrap();
    let token = token["AccessToken"].as_str().unwrap();
    let version = "api-version=2021-01-01";
    let (created, _) = ask(
        &serving,
        token,
        &format!("PUT /accounts/{id}/sessions/one?{version}"),
        r#"{"maxLeaseTimeMinutes":5,"size":"Standard"}"#,
    );
    assert!(created.contains(" 201 "), "{created}");
    serving.wait("Ready", |serving| json(&serving.session(&["get", "one", "--json"]))["status"] == "Ready");
    let (still, _) = ask(
        &serving,
        token,
        &format!("GET /accounts/{id}/sessions/one/still?width=64&height=48&{version}"),
        "",
    );
    assert!(still.contains(" 200 "), "{still}");
    signal(&serving.child, "-INT");
    assert!(serving.ended().success());

    let request = collector.the("belvedere", "PUT /accounts/{account}/sessions/{id}");
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(value(&request.attributes, "http.response.status_code"), Some(Any::IntValue(201)));
    let base = vector_base(&created);
    assert_eq!(text(&request.attributes, "cv"), Some(format!("{base}.0")));
    let start = collector.the("belvedere", "session start");
    assert_eq!((&start.trace_id, &start.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(text(&start.attributes, "status").as_deref(), Some("Ready"));
    assert!(start.end_time_unix_nano > start.start_time_unix_nano);
    let assign = collector.the("belvedere-host", "assign");
    assert_eq!((&assign.trace_id, &assign.parent_span_id), (&request.trace_id, &start.span_id));
    assert_eq!(text(&assign.attributes, "cv"), Some(format!("{base}.1.0")));

    let request = collector.the("belvedere", "GET /accounts/{account}/sessions/{id}/still");
    let picture = collector.the("belvedere-host", "still");
    assert_eq!((&picture.trace_id, &picture.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(text(&picture.attributes, "cv"), Some(format!("{}.1.0", vector_base(&still))));

    // In the log of the host, too.
    assert!(serving.log().contains(&format!("{base}.1.0")), "{}", serving.log());
    let spans = format!("{:?}", collector.spans.lock().unwrap());
    assert!(!spans.contains("eyJ"), "an access token is in the traces");
}

#[test]
fn a_collector_that_is_not_there_holds_nothing_up() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let mut serving = Serving::start(&["serve", &format!("--otlp-endpoint=http://{nobody}")]);
    let created = json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    assert_eq!(created["status"], "Ready");
    let began = std::time::Instant::now();
    signal(&serving.child, "-INT");
    assert!(serving.ended().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
