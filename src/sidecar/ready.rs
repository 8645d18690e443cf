//! Whether requests would get through from here: certificates in date, secrets at hand.
//!
//! Each route is rehearsed: its credentials are applied to a request that is not sent. A credential's
//! program runs as it would for a request, and what it gave is kept as long as for a request. The
//! upstream is asked nothing, and not even knocked at unless that was said: that it is down is no
//! reason to restart a sidecar.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tower::Service as _;

use super::{forward::Forward, route::Lane};
use crate::{
    service::Rehearsal,
    tls::{identity::Summary, inbound::Current},
};

/// How long a secret may take to be had.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that stands in the way of requests.
pub(super) async fn hindrances(forward: &Forward, listener: Option<&Current>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(identity) = listener.map(|it| it.borrow().identity.clone()).filter(is_out_of_date) {
        found.push(format!("the certificate of the listeners {identity}"));
    }
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
    let identity = lane.identity().filter(is_out_of_date);
    let identity = identity.map(|identity| format!("the client certificate {identity}"));
    let (rehearsed, reached) = tokio::join!(rehearsed(lane), reached(lane));
    let found = identity.into_iter().chain(rehearsed.err()).chain(reached.err());
    found.map(move |why| format!("route {route}: {why}"))
}

fn is_out_of_date(identity: &Summary) -> bool {
    identity.expired() || identity.not_yet_valid()
}

async fn reached(lane: &Lane) -> Result<(), String> {
    let Some(reach) = &lane.reach else { return Ok(()) };
    reach.look().await.map_err(|failure| failure.to_string())
}

async fn rehearsed(lane: &Lane) -> Result<(), String> {
    let mut request = lane.request_of_our_own();
    request.extensions_mut().insert(Rehearsal);
    match timeout(PATIENCE, lane.service.clone().call(request)).await {
        Ok(rehearsed) => rehearsed.map(drop).map_err(|failure| failure.to_string()),
        Err(_) => Err("a credential is not there yet".to_owned()),
    }
}
