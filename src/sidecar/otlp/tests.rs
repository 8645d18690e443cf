//! What is sent, read by the definitions of OpenTelemetry's own crate; and what becomes of a
//! collector that does not take it.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::FutureExt as _;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as Code},
};
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tower::service_fn;

use super::{Collector, Finished, sending::Sending, wire::Encoder};
use crate::{
    failure::{Failure, Stage},
    ledger::Outcome,
    mcp::subject::Subject,
    service::{HttpService, Request, Response},
    sidecar::{Route, trace},
};

/// A call of a tool that went well.
pub(super) fn finished() -> Finished {
    let mut headers = http::HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent", parent.parse().unwrap());
    Finished {
        span: trace::enter(&mut headers, || Some([0xc5; 24])).1.unwrap(),
        time: SystemTime::UNIX_EPOCH + Duration::new(1_000, 7),
        duration: Duration::from_millis(250),
        method: "POST",
        route: Some("one".into()),
        subject: Subject { method: Some("tools/call".into()), name: Some("echo".into()) },
        status: Some(200),
        outcome: Outcome::Answered,
        failed: None,
    }
}

fn nowhere() -> HttpService {
    service(|_| async { Err(Failure::new(Stage::Connect, "canary: nobody is there")) })
}

fn service<F: Future<Output = Result<Response, Failure>> + Send + 'static>(
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> HttpService {
    HttpService::new(service_fn(answer))
}

/// What is sent of one request, on the route `one` or none.
fn sent(finished: Finished) -> (Span, Vec<KeyValue>) {
    let route = Route {
        name: "one".to_owned(),
        host: None,
        prefix: Some("/one".to_owned()),
        upstream: "https://mcp.example:8443/canary?key=canary".parse().unwrap(),
        service: nowhere(),
        sockets: nowhere(),
        tls: None,
        reach: None,
        translate: None,
    };
    let bytes = Encoder::new(&[route]).encode(&[finished]);
    assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
    let mut read = ExportTraceServiceRequest::decode(&*bytes).unwrap();
    assert_eq!(read.encode_to_vec(), bytes, "there is something that nobody knows");
    let mut of_resource = read.resource_spans.pop().unwrap();
    let mut of_scope = of_resource.scope_spans.pop().unwrap();
    assert_eq!(of_scope.scope.unwrap().name, "countersign");
    (of_scope.spans.pop().unwrap(), of_resource.resource.unwrap().attributes)
}

fn told(attributes: &[KeyValue]) -> Vec<String> {
    let told = attributes.iter().map(|it| match it.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => format!("{}={text}", it.key),
        Value::IntValue(number) => format!("{}:{number}", it.key),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_request_is_a_span_of_its_trace() {
    let (span, resource) = sent(finished());
    assert_eq!(
        told(&resource),
        ["service.name=countersign", concat!("service.version=", env!("CARGO_PKG_VERSION"))]
    );
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(span.span_id, [0xc5; 8]);
    assert_eq!((span.name.as_str(), span.kind()), ("tools/call echo", SpanKind::Server));
    assert_eq!(span.start_time_unix_nano, 1_000_000_000_007);
    assert_eq!(span.end_time_unix_nano, 1_000_250_000_007);
    assert_eq!((span.flags, span.status), (0x301, None));
    assert_eq!(
        told(&span.attributes),
        [
            "http.request.method=POST",
            "http.response.status_code:200",
            "http.route=/one",
            "countersign.route=one",
            "server.address=mcp.example",
            "server.port:8443",
            "mcp.method.name=tools/call",
            "gen_ai.operation.name=execute_tool",
            "gen_ai.tool.name=echo",
            "countersign.outcome=answered",
        ]
    );
}

#[test]
fn what_failed_says_where() {
    let refused = Finished {
        method: "other",
        route: None,
        subject: Subject::default(),
        status: Some(403),
        outcome: Outcome::Failed,
        failed: Some(("downstream", Some("origin"))),
        ..finished()
    };
    let (span, _) = sent(refused);
    assert_eq!((span.name.as_str(), span.status.unwrap().code()), ("HTTP", Code::Error));
    assert_eq!(
        told(&span.attributes),
        [
            "http.request.method=_OTHER",
            "http.response.status_code:403",
            "countersign.outcome=failed",
            "error.type=downstream",
            "countersign.rule=origin",
        ]
    );
}

#[test]
fn an_error_of_the_upstreams_is_one_and_a_refusal_of_its_is_none() {
    for (status, expected) in [(503, Some("error.type=503")), (404, None), (200, None)] {
        let (span, _) = sent(Finished { status: Some(status), ..finished() });
        assert_eq!(span.status.is_some(), expected.is_some(), "{status}");
        let told = told(&span.attributes);
        assert_eq!(told.iter().find(|it| it.starts_with("error")).map(|it| &**it), expected);
    }
}

#[test]
fn prompts_are_named_and_resources_are_not() {
    for (method, name, expected) in [
        ("prompts/get", "hello", "prompts/get hello"),
        ("resources/read", "file:///canary", "resources/read"),
        ("tools/list", "canary", "tools/list"),
    ] {
        let subject = Subject { method: Some(method.into()), name: Some(name.into()) };
        let (span, _) = sent(Finished { subject, ..finished() });
        assert_eq!(span.name, expected);
    }
    let listening = Finished { method: "GET", subject: Subject::default(), ..finished() };
    assert_eq!(sent(listening).0.name, "GET /one");
}

/// What a collector does with each try, the last of them with all that follow.
#[derive(Clone, Copy)]
enum Does {
    Take,
    Reject(i64),
    Say(u16, Option<&'static str>),
    Fail,
    Hang,
}

/// Sends `batches` of ten spans; how many tries that took, how many spans were lost, and how long.
async fn send(batches: usize, leaves: bool, does: &'static [Does]) -> (usize, u64, Duration) {
    let tries = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&tries);
    let answer = move |request: Request| {
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let mut count = counted.lock().unwrap();
        let does = does[(*count).min(does.len() - 1)];
        *count += 1;
        async move {
            let mut response = http::Response::builder();
            let mut body = ExportTraceServiceResponse::default();
            match does {
                Does::Take => {}
                Does::Reject(count) => {
                    let rejected =
                        ExportTracePartialSuccess { rejected_spans: count, ..Default::default() };
                    body.partial_success = Some(rejected);
                }
                Does::Say(status, after) => {
                    response = response.status(StatusCode::from_u16(status).unwrap());
                    if let Some(after) = after {
                        response = response.header("retry-after", after);
                    }
                }
                Does::Fail => return Err(Failure::new(Stage::Connect, "nobody is there")),
                Does::Hang => sleep(Duration::from_secs(86400)).await,
            }
            let whole = Full::new(body.encode_to_vec().into());
            let whole = whole.map_err(|never: Infallible| match never {}).boxed_unsync();
            Ok(response.body(whole).unwrap())
        }
    };
    let uri = "http://127.0.0.1:4318/v1/traces".parse().unwrap();
    let collector = Collector { uri, service: service(answer) };
    let leaving =
        if leaves { std::future::ready(()).boxed() } else { std::future::pending().boxed() };
    let lost = Arc::new(AtomicU64::new(0));
    let mut sending = Sending::new(&collector, leaving.shared(), Arc::clone(&lost));
    let before = Instant::now();
    for _ in 0..batches {
        sending.send(vec![1], 10).await;
    }
    let tries = *tries.lock().unwrap();
    (tries, lost.load(Ordering::Relaxed), before.elapsed())
}

#[tokio::test(start_paused = true)]
async fn what_may_help_is_tried_again_and_in_the_end_it_is_lost() {
    use Does::*;
    for (does, tries, lost, seconds) in [
        (&[Take][..], 1, 0, 0),
        (&[Reject(3)], 1, 3, 0),
        (&[Fail, Take], 2, 0, 1),
        (&[Say(503, None), Say(429, Some("7")), Take], 3, 0, 8),
        (&[Say(503, Some("86400")), Take], 2, 0, 30),
        (&[Say(502, Some("tomorrow")), Say(504, None)], 3, 10, 5),
        (&[Say(400, None)], 1, 10, 0),
        (&[Say(302, None)], 1, 10, 0),
        (&[Hang], 3, 10, 35),
    ] {
        let (tried, missing, took) = send(1, false, does).await;
        assert_eq!((tried, missing, took.as_secs()), (tries, lost, seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_tries_once() {
    assert_eq!(send(2, true, &[Does::Fail]).await, (2, 20, Duration::ZERO));
}

/// What is logged, in memory.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_of_when_it_begins_and_when_it_is_over() {
    use Does::*;
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_level(false).without_time();
    let subscriber = subscriber.with_target(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // Three batches are lost and two spans of the next; then five of one that is taken.
    const DOES: &[Does] =
        &[Say(400, None), Say(401, None), Say(413, None), Reject(2), Take, Take, Reject(5), Take];
    send(8, false, DOES).await;
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "spans are lost: the collector answered 400 (--otlp)",
            "the collector takes spans again; 32 were lost",
            "spans are lost: the collector takes too few (--otlp)",
            "the collector takes spans again; 5 were lost",
        ]
    );
}
