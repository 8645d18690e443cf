//! Whether requests would get through from here: certificates in date, secrets at hand.
//!
//! Each route is rehearsed: its credentials are applied to a request that is not sent. A credential's
//! program runs as it would for a request, and what it gave is kept as long as for a request. The
//! upstream is not asked: that it is down is no reason to restart a sidecar.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tower::Service as _;

use super::{forward::Forward, route::Lane};
use crate::service::Rehearsal;

/// How long a secret may take to be had.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that stands in the way of requests.
pub(super) async fn hindrances(forward: &Forward) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(token) = &forward.token {
        let why = match timeout(PATIENCE, token.current()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("{} is not there yet", token.reference())),
        };
        found.extend(why.map(|why| format!("the token that callers must show: {why}")));
    }
    found.extend(join_all(forward.lanes.iter().map(of_lane)).await.into_iter().flatten());
    found
}

async fn of_lane(lane: &Lane) -> impl Iterator<Item = String> {
    let route = lane.name.clone();
    let identity = lane.identity().filter(|it| it.expired() || it.not_yet_valid());
    let identity = identity.map(|identity| format!("the client certificate {identity}"));
    let found = identity.into_iter().chain(rehearsed(lane).await.err());
    found.map(move |why| format!("route {route}: {why}"))
}

async fn rehearsed(lane: &Lane) -> Result<(), String> {
    let mut request = lane.request_of_our_own();
    request.extensions_mut().insert(Rehearsal);
    match timeout(PATIENCE, lane.service.clone().call(request)).await {
        Ok(rehearsed) => rehearsed.map(drop).map_err(|failure| failure.to_string()),
        Err(_) => Err("a credential is not there yet".to_owned()),
    }
}
