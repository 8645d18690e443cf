//! Whether requests would get through from here: certificates in date, secrets at hand.
//!
//! Each route is rehearsed: its credentials are applied to a request that is not sent. A credential's
//! program runs as it would for a request, and what it gave is kept as long as for a request. The
//! upstream is not asked: that it is down is no reason to restart a sidecar.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;
use tower::Service as _;

use super::{forward::Forward, route::Lane};
use crate::{failure::Failure, service::Rehearsal};

/// How long a secret may take to be had.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the sidecar is not ready.
#[derive(Debug, Serialize)]
pub(super) struct Reason {
    check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    what: String,
}

impl Reason {
    /// It leaves.
    pub(super) fn draining() -> Self {
        let what = "what is under way ends, and nothing new is taken".to_owned();
        Self { check: "draining", route: None, what }
    }
}

/// All that stands in the way of requests.
pub(super) async fn reasons(forward: &Forward) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(token) = &forward.token {
        let what = match timeout(PATIENCE, token.current()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("{} is not there yet", token.reference())),
        };
        reasons.extend(what.map(|what| Reason { check: "secret", route: None, what }));
    }
    for found in join_all(forward.lanes.iter().map(of_lane)).await {
        reasons.extend(found);
    }
    reasons
}

async fn of_lane(lane: &Lane) -> Vec<Reason> {
    let route = || Some(lane.name.0.to_string());
    let certificate = (lane.certificate)().and_then(|it| it.trouble);
    let certificate = certificate.map(|what| Reason { check: "certificate", route: route(), what });
    let secret = rehearsed(lane).await.err();
    let secret = secret.map(|what| Reason { check: "secret", route: route(), what });
    certificate.into_iter().chain(secret).collect()
}

async fn rehearsed(lane: &Lane) -> Result<(), String> {
    let mut request = lane.request_of_our_own();
    request.extensions_mut().insert(Rehearsal);
    match timeout(PATIENCE, lane.service.clone().call(request)).await {
        Ok(rehearsed) => rehearsed.map(drop).map_err(|failure: Failure| failure.to_string()),
        Err(_) => Err("a credential is not there yet".to_owned()),
    }
}
