//! Spans, as a collector gets them: what they tell and what not, and that nobody waits for it.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Told,
    trace::v1::Span,
};
use prost::Message as _;
use rustix::process::Signal;
use serde_json::json;

use super::{Sidecar, call, serve};
use crate::support::{
    pki::Pki,
    process::DEADLINE,
    script::{Fault, Reply, Rule},
    upstream::Upstream,
};

const CANARY: &str = "Zq7Xw2Kd9";

/// A collector on this machine that does this with all that comes.
fn collector(pki: &Pki, does: Fault) -> Upstream {
    let collector = Upstream::options(pki).plain().start();
    collector.script(Rule::next().always(), does);
    collector
}

fn takes() -> Fault {
    Fault::Answer(Reply::new(200).header("content-type", "application/x-protobuf"))
}

/// Its URL, as OTEL_EXPORTER_OTLP_ENDPOINT has it.
fn endpoint(collector: &Upstream) -> String {
    collector.url().trim_end_matches("/mcp").to_owned()
}

/// All spans that it got, by their beginning.
fn spans(collector: &Upstream) -> Vec<Span> {
    let mut spans = Vec::new();
    for seen in collector.seen() {
        assert_eq!(seen.path, "/v1/traces");
        assert_eq!(seen.header("content-type"), Some("application/x-protobuf"));
        let read = ExportTraceServiceRequest::decode(&*seen.body).unwrap();
        assert_eq!(read.encode_to_vec(), seen.body, "there is something that nobody knows");
        for of_scope in read.resource_spans.into_iter().flat_map(|it| it.scope_spans) {
            spans.extend(of_scope.spans);
        }
    }
    spans.sort_by_key(|span| span.start_time_unix_nano);
    spans
}

fn told(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|it| it.key == key)?;
    match found.value.clone()?.value? {
        Told::StringValue(text) => Some(text),
        Told::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ends it, in this time, and returns what it said.
fn ended(mut sidecar: Sidecar, within: Duration) -> String {
    let asked = Instant::now();
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.wait_exit(DEADLINE).code(), Some(0));
    assert!(asked.elapsed() < within, "{:?}", asked.elapsed());
    sidecar.process.stderr()
}

/// Shorter than a batch waits for others.
const AT_ONCE: Duration = Duration::from_secs(4);

#[test]
fn a_span_stands_between_the_callers_and_the_upstreams_and_is_sent_before_the_end() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let collector = collector(&pki, takes());
    let sidecar = Sidecar::start(&pki, &upstream, &["--otlp", &endpoint(&collector)]);
    sidecar.open();
    let message = call("echo", json!({}));
    let caller = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    sidecar.post("/mcp", &format!("traceparent: 00-{caller}-01\r\n"), &message);
    sidecar.post("/mcp", &format!("traceparent: 00-{caller}-00\r\n"), &message);
    sidecar.post("/mcp", "", &message);
    let said = ended(sidecar, AT_ONCE);
    assert!(!said.contains("span"), "{said}");

    let parents: Vec<_> = upstream.posts("tools/call");
    let parents: Vec<_> = parents.iter().map(|it| it.header("traceparent").unwrap()).collect();
    let spans = spans(&collector);
    assert_eq!(spans.len(), 3, "the one that is not sampled is none: {spans:?}");
    let [_, carried, begun] = &spans[..] else { panic!("{spans:?}") };
    let of = |span: &Span| {
        format!("00-{}-{}-01", hexadecimal(&span.trace_id), hexadecimal(&span.span_id))
    };
    assert_eq!(parents[0], of(carried));
    assert_eq!(parents[1], format!("00-{caller}-00"));
    assert_eq!(parents[2], of(begun));
    assert_eq!(hexadecimal(&carried.trace_id), caller[..32]);
    assert_eq!(hexadecimal(&carried.parent_span_id), caller[33..]);
    assert!(begun.parent_span_id.is_empty() && begun.trace_id != carried.trace_id);
    assert_eq!(carried.name, "tools/call echo");
    assert_eq!(told(carried, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(told(carried, "server.address").as_deref(), Some("127.0.0.1"));
    assert!(carried.end_time_unix_nano > carried.start_time_unix_nano);
}

#[test]
fn nothing_secret_reaches_the_collector() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let collector = collector(&pki, takes());
    let program = serve(&pki, &upstream).identity(&pki.client);
    let program = program
        .args(["--otlp", "${OTEL_EXPORTER_OTLP_ENDPOINT}", "--bearer", "env:TOKEN"])
        .args(["--header", &format!("X-Tenant: {CANARY}"), "--admin", "127.0.0.1:0"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/", endpoint(&collector)))
        .env("TOKEN", CANARY);
    let sidecar = Sidecar::of(&program);
    sidecar.open();
    let secret = format!(
        "X-Request-Id: {CANARY}\r\nX-Secret: {CANARY}\r\nCookie: a={CANARY}\r\n\
         tracestate: a={CANARY}\r\nbaggage: a={CANARY}\r\nUser-Agent: {CANARY}\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    );
    let path = format!("/mcp?key={CANARY}");
    let answer = sidecar.post(&path, &secret, &call("echo", json!({"text": CANARY})));
    assert!(answer.status == 200 && answer.body.contains(CANARY), "{}", answer.body);
    let uri = format!("https://{CANARY}@a.example/{CANARY}?key={CANARY}");
    let read =
        json!({"jsonrpc": "2.0", "id": CANARY, "method": "resources/read", "params": {"uri": uri}});
    sidecar.post("/mcp", "", &read);
    let foreign = format!("Origin: https://{CANARY}.example\r\n");
    assert_eq!(sidecar.post("/mcp", &foreign, &call("echo", json!({}))).status, 403);
    assert_eq!(sidecar.post(&format!("/{CANARY}"), "", &json!({})).status, 404);
    upstream.down();
    assert_eq!(sidecar.call("echo", json!({})).status, 502);
    ended(sidecar, AT_ONCE);

    let spans = spans(&collector);
    let of = |key| spans.iter().map(|span| told(span, key)).collect::<Vec<_>>();
    let texts = |texts: [&str; 6]| texts.map(|it| (!it.is_empty()).then(|| it.to_owned()));
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    let call = "tools/call echo";
    assert_eq!(names, ["initialize", call, "resources/read", "POST", "POST", call]);
    assert_eq!(of("error.type"), texts(["", "", "", "downstream", "downstream", "connect"]));
    assert_eq!(of("countersign.rule"), texts(["", "", "", "origin", "route", ""]));
    assert_eq!(of("http.route"), texts(["/", "/", "/", "", "", "/"]));
    for seen in collector.seen() {
        let bytes = format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body));
        assert!(!bytes.contains(CANARY), "{bytes}");
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.client, None);
    }
}

#[test]
fn a_collector_that_is_down_costs_one_line_and_no_request_and_gets_spans_when_it_is_back() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let collector = collector(&pki, takes());
    collector.down();
    let sidecar = Sidecar::start(&pki, &upstream, &["--otlp", &endpoint(&collector)]);
    sidecar.open();
    for _ in 0..20 {
        assert_eq!(sidecar.call("echo", json!({})).status, 200);
    }
    sidecar.process.wait_for_stderr("spans are lost: ");
    collector.up();
    assert_eq!(sidecar.call("echo", json!({})).status, 200);
    sidecar.process.wait_for_stderr("the collector takes spans again; 21 were lost");
    assert_eq!(spans(&collector).len(), 1);
    let said = ended(sidecar, AT_ONCE);
    assert_eq!(said.matches("spans are lost").count(), 1, "{said}");
}

#[test]
fn a_collector_that_is_down_at_the_end_is_tried_once() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let collector = collector(&pki, takes());
    collector.down();
    let sidecar = Sidecar::start(&pki, &upstream, &["--otlp", &endpoint(&collector)]);
    sidecar.open();
    let said = ended(sidecar, AT_ONCE);
    assert_eq!(said.matches("spans are lost").count(), 1, "{said}");
}

#[test]
fn a_collector_that_does_not_answer_holds_the_end_up_for_a_bounded_time() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let collector = collector(&pki, Fault::Stall);
    let sidecar = Sidecar::start(&pki, &upstream, &["--otlp", &endpoint(&collector)]);
    sidecar.open();
    assert_eq!(sidecar.call("echo", json!({})).status, 200);
    let said = ended(sidecar, AT_ONCE);
    assert!(said.contains("the collector had not taken the last spans"), "{said}");
}

#[test]
fn a_collector_elsewhere_is_reached_over_tls_with_the_systems_roots_and_without_our_identity() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let collector = Upstream::options(&pki).any_client().start();
    collector.script(Rule::next().always(), takes());
    let url = collector.url_for("localhost").replace("/mcp", "/v1/traces");
    let program = serve(&pki, &upstream).identity(&pki.client);
    let program = program.args(["--admin", "127.0.0.1:0", "--otlp", &url]);
    let sidecar = Sidecar::of(&program.env("SSL_CERT_FILE", &pki.ca.cert));
    sidecar.open();
    ended(sidecar, AT_ONCE);
    assert_eq!(spans(&collector).len(), 1);
    assert_eq!(collector.seen()[0].client, None);
}
