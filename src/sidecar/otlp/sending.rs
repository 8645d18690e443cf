//! One batch at a time to the collector: in bounded time, tried again where OTLP says that it may help.
//!
//! What it will not take is lost. That is said once, and once more when spans arrive again; never in
//! between, however many are lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, Shared};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::{sleep, timeout};
use tower::Service as _;

use super::{Collector, wire};
use crate::service::{HttpService, Request, Response};

/// How long the collector may take for one try.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before each further try, where the collector does not say how long.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// However long the collector says.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// An answer is a few bytes; of a longer one nothing is wanted.
const LONGEST_ANSWER: usize = 64 * 1024;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION")));

pub(super) struct Sending {
    uri: Uri,
    service: HttpService,
    leaving: Shared<BoxFuture<'static, ()>>,
    /// Spans that found no room in the queue, or were not taken.
    lost: Arc<AtomicU64>,
    /// How many of them are known here.
    known: u64,
    /// How many there were when it was said that spans are lost.
    outage: Option<u64>,
}

/// Why a batch was not taken.
struct Refused {
    why: String,
    /// What the collector says of a further try; none if it can't help.
    again: Option<Option<Duration>>,
}

impl Sending {
    pub(super) fn new(
        collector: &Collector,
        leaving: Shared<BoxFuture<'static, ()>>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        let (uri, service) = (collector.uri.clone(), collector.service.clone());
        Self { uri, service, leaving, lost, known: 0, outage: None }
    }

    /// Sends a batch of `count` spans.
    pub(super) async fn send(&mut self, batch: Vec<u8>, count: usize) {
        let sent = self.persist(&batch.into()).await;
        if sent.is_err() {
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
        }
        let lost = self.lost.load(Ordering::Relaxed);
        let since = lost - std::mem::replace(&mut self.known, lost);
        match (sent, since, self.outage) {
            (Ok(()), 0, Some(before)) => {
                tracing::info!("the collector takes spans again; {} were lost", lost - before);
                self.outage = None;
            }
            (Ok(()), 0, None) | (_, _, Some(_)) => {}
            (sent, _, None) => {
                let why = sent.err().unwrap_or_else(|| "the collector takes too few".to_owned());
                tracing::warn!("spans are lost: {why} (--otlp)");
                self.outage = Some(lost - since);
            }
        }
    }

    /// Tries, and tries again while that may help and the sidecar stays.
    async fn persist(&mut self, batch: &Bytes) -> Result<(), String> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let Err(refused) = self.attempt(batch.clone()).await else { return Ok(()) };
            let (Some(asked), Some(pause)) = (refused.again, pauses.next()) else {
                return Err(refused.why);
            };
            tokio::select! {
                () = sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)) => {}
                () = self.leaving.clone() => return Err(refused.why),
            }
        }
    }

    async fn attempt(&mut self, batch: Bytes) -> Result<(), Refused> {
        let mut request = Request::new(batch);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
        request.headers_mut().insert(header::USER_AGENT, AGENT);
        let answered = async {
            let response = self.service.call(request).await;
            let response = response
                .map_err(|failure| Refused { why: failure.what().into(), again: Some(None) })?;
            self.read(response).await
        };
        timeout(PATIENCE, answered).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(PATIENCE);
            let why = format!("the collector gave no answer within {limit}");
            Err(Refused { why, again: Some(None) })
        })
    }

    async fn read(&self, response: Response) -> Result<(), Refused> {
        let (head, body) = response.into_parts();
        // To its end, so that the connection can be used again.
        let answer = Limited::new(body, LONGEST_ANSWER).collect().await;
        if head.status.is_success() {
            let answer = answer.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            self.lost.fetch_add(wire::rejected(&answer), Ordering::Relaxed);
            return Ok(());
        }
        let after = head.headers.get(header::RETRY_AFTER).and_then(|it| it.to_str().ok());
        let after = after.and_then(|it| it.parse().ok()).map(Duration::from_secs);
        let why = format!("the collector answered {}", head.status.as_u16());
        Err(Refused { why, again: may_help(head.status).then_some(after) })
    }
}

/// "Retryable Response Codes" of the OTLP specification.
fn may_help(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}
