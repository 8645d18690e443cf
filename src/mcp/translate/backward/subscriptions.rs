//! `subscriptions/listen` before a session: what the server sends of itself goes to those that have
//! asked for it, and resources are watched by `resources/subscribe` for as long as anybody wants them
//! (2026-07-28 patterns/subscriptions).

use std::{borrow::Cow, collections::HashSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    Backward,
    request::Own,
    said::Said,
    server::Server,
    words::{self, Refused},
};
use crate::mcp::{
    edit::{Edit, edited, picked},
    exchange::Command,
    message::{Id, Message},
    metadata::{SUBSCRIPTION_ID, text},
};

/// Resources that are watched in one session.
pub(super) const MAX_WATCHED: usize = 256;

/// A subscription of the client.
#[derive(Debug)]
pub(super) struct Subscription {
    leg: u64,
    id: Id,
    /// What of the filter is honoured: the lists of tools, prompts and resources, and resources.
    lists: [bool; 3],
    uris: Vec<Box<str>>,
    /// Those that the server has not answered for; with the last, the subscription begins.
    pending: HashSet<Box<str>>,
    begun: bool,
}

/// A resource that the server has been asked to watch.
#[derive(Debug, Default)]
pub(super) struct Watched {
    subscriptions: usize,
    /// The server has not answered, be it that it watches or that it does no more.
    asked: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    tools_list_changed: Option<bool>,
    #[serde(default)]
    prompts_list_changed: Option<bool>,
    #[serde(default)]
    resources_list_changed: Option<bool>,
    #[serde(default)]
    resource_subscriptions: Option<Vec<Box<str>>>,
}

impl Filter {
    /// What of it a server has: lists, and resources, each of these once.
    fn honoured_by(self, server: &Server) -> ([bool; 3], Vec<Box<str>>) {
        let wanted =
            [self.tools_list_changed, self.prompts_list_changed, self.resources_list_changed];
        let mut lists = wanted.map(|wanted| wanted == Some(true));
        for (on, (_, offered, _)) in lists.iter_mut().zip(LISTS) {
            *on &= server.offers(offered);
        }
        let mut uris = self.resource_subscriptions.unwrap_or_default();
        let mut known = HashSet::new();
        uris.retain(|uri| server.offers("/resources/subscribe") && known.insert(uri.clone()));
        (lists, uris)
    }
}

/// The lists, by their notifications and by what a server says that sends those.
const LISTS: [(&str, &str, &str); 3] = [
    ("notifications/tools/list_changed", "/tools/listChanged", "toolsListChanged"),
    ("notifications/prompts/list_changed", "/prompts/listChanged", "promptsListChanged"),
    ("notifications/resources/list_changed", "/resources/listChanged", "resourcesListChanged"),
];

impl Backward {
    /// Begins a subscription, once the server watches the resources of it.
    pub(super) fn listen(&mut self, key: u64) {
        let Some(request) = self.requests.get(&key) else { return };
        let (number, Some(id)) = (request.leg, request.client.clone()) else { return };
        let filter = Said::by(&request.message).ok().and_then(|said| said.notifications);
        let filter = filter.and_then(|raw| serde_json::from_str::<Filter>(raw).ok());
        let Some(filter) = filter else {
            let refused = Refused::params("params.notifications is missing or no filter");
            return self.answer(key, |id| refused.line(id));
        };
        if self.closing {
            return self.answer(key, words::closed);
        }
        let Some(server) = self.legs.get(&number).and_then(|leg| leg.server.as_ref()) else {
            return;
        };
        let (lists, uris) = filter.honoured_by(server);
        let mut subscription = Subscription {
            leg: number,
            id,
            lists,
            uris: Vec::new(),
            pending: HashSet::new(),
            begun: false,
        };
        let wanted = uris.len();
        for uri in uris {
            self.join(&mut subscription, uri);
        }
        if subscription.uris.len() < wanted {
            tracing::warn!("more than {MAX_WATCHED} resources are subscribed to");
        }
        self.subscriptions.insert(key, subscription);
        self.begin_if_ready(key);
    }

    /// Adds a resource to a subscription, which waits for it until it is watched.
    fn join(&mut self, subscription: &mut Subscription, uri: Box<str>) {
        let number = subscription.leg;
        let Some(leg) = self.legs.get_mut(&number) else { return };
        let new = !leg.watched.contains_key(&uri);
        if new && leg.watched.len() >= MAX_WATCHED {
            return;
        }
        let watched = leg.watched.entry(uri.clone()).or_default();
        watched.asked |= new;
        watched.subscriptions += 1;
        if watched.asked {
            subscription.pending.insert(uri.clone());
        }
        subscription.uris.push(uri.clone());
        if new {
            self.watch(number, uri);
        }
    }

    fn watch(&mut self, leg: u64, uri: Box<str>) {
        let params = json!({ "uri": uri });
        self.ask_own(leg, Own::Watch(uri), "resources/subscribe", &params);
    }

    /// The acknowledgment, before which nothing is sent ("Acknowledgment").
    fn begin_if_ready(&mut self, key: u64) {
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return };
        if subscription.begun || !subscription.pending.is_empty() {
            return;
        }
        subscription.begun = true;
        let mut honoured = json!({});
        for (on, (_, _, name)) in subscription.lists.into_iter().zip(LISTS) {
            if on {
                honoured[name] = json!(true);
            }
        }
        if !subscription.uris.is_empty() {
            honoured["resourceSubscriptions"] = json!(subscription.uris);
        }
        self.out.push(Command::Deliver(words::acknowledged(&subscription.id, &honoured)));
    }

    /// The server watches a resource, or has refused to.
    pub(super) fn watched(&mut self, number: u64, uri: &str, error: Option<&[u8]>) {
        let mut waiting = Vec::new();
        for (key, subscription) in &mut self.subscriptions {
            if subscription.leg == number && subscription.pending.remove(uri) {
                waiting.push(*key);
                if error.is_some() {
                    subscription.uris.retain(|it| &**it != uri);
                }
            }
        }
        if let Some(watched) = self.legs.get_mut(&number).and_then(|leg| leg.watched.get_mut(uri)) {
            watched.asked = false;
            if error.is_some() {
                tracing::warn!("the server does not watch a resource that was subscribed to");
                watched.subscriptions = watched.subscriptions.saturating_sub(waiting.len());
            }
            match (watched.subscriptions, error) {
                (0, None) => self.unwatch(number, uri),
                (0, Some(_)) => self.unwatched(number, uri),
                _ => {}
            }
        }
        for key in waiting {
            self.begin_if_ready(key);
        }
    }

    /// Has the server watch a resource no more. It is known until that is answered: the two must not
    /// overtake each other where somebody wants it again by then.
    fn unwatch(&mut self, number: u64, uri: &str) {
        let leg = self.legs.get_mut(&number);
        let Some(watched) = leg.and_then(|leg| leg.watched.get_mut(uri)) else { return };
        watched.asked = true;
        let params = json!({ "uri": uri });
        self.ask_own(number, Own::Unwatch(uri.into()), "resources/unsubscribe", &params);
    }

    /// The server watches a resource no more, or has refused to hear of it.
    pub(super) fn unwatched(&mut self, number: u64, uri: &str) {
        let Some(leg) = self.legs.get_mut(&number) else { return };
        if leg.watched.get(uri).is_some_and(|watched| watched.subscriptions > 0) {
            self.watch(number, uri.into());
        } else {
            leg.watched.remove(uri);
        }
    }

    /// Ends a subscription; what nobody else wants is watched no more.
    pub(super) fn unsubscribe(&mut self, key: u64) {
        let Some(subscription) = self.subscriptions.remove(&key) else { return };
        for uri in subscription.uris {
            let leg = self.legs.get_mut(&subscription.leg);
            let Some(watched) = leg.and_then(|leg| leg.watched.get_mut(&uri)) else { continue };
            watched.subscriptions = watched.subscriptions.saturating_sub(1);
            // While the server has not answered, its answer decides what is to be undone.
            if watched.subscriptions == 0 && !watched.asked {
                self.unwatch(subscription.leg, &uri);
            }
        }
    }

    /// A session that has taken a lost one's place watches nothing yet.
    pub(super) fn watch_again(&mut self, number: u64) {
        let Some(leg) = self.legs.get_mut(&number) else { return };
        let wanted = leg.watched.iter_mut().filter(|(_, watched)| watched.subscriptions > 0);
        let asked = wanted.map(|(uri, watched)| {
            watched.asked = true;
            uri.clone()
        });
        let asked: Vec<Box<str>> = asked.collect();
        for uri in asked {
            self.watch(number, uri);
        }
    }

    /// Something changed at the server: told to each subscription that wants to know ("Receiving
    /// Notifications").
    pub(super) fn changed(&mut self, number: u64, method: &str, message: &Message) {
        let list = LISTS.iter().position(|(name, ..)| *name == method);
        let uri = if list.is_none() { updated(message) } else { None };
        let wants = |it: &Subscription| {
            let listed = list.is_some_and(|list| it.lists.get(list) == Some(&true));
            let uri = uri.as_deref();
            listed || uri.is_some_and(|uri| it.uris.iter().any(|root| within(uri, root)))
        };
        for subscription in self.subscriptions.values() {
            if subscription.leg == number && subscription.begun && wants(subscription) {
                self.out.extend(tagged(message, &subscription.id).map(Command::Deliver));
            }
        }
    }
}

/// The notification as one of a subscription.
fn tagged(message: &Message, id: &Id) -> Option<Bytes> {
    let path = ["params", "_meta", SUBSCRIPTION_ID];
    let line = edited(message.bytes(), &[Edit::Set(&path, Cow::Borrowed(id.token()))]);
    if line.is_none() {
        tracing::debug!("a notification that has no room for its subscription is dropped");
    }
    line
}

fn updated(message: &Message) -> Option<String> {
    let [uri] = picked(message.bytes(), &["params"], ["uri"])?;
    text(uri?).map(Cow::into_owned)
}

/// Whether an update of `uri` is one of `root`: servers may name a part of what was subscribed to
/// (2025-11-25 schema, `ResourceUpdatedNotification`).
fn within(uri: &str, root: &str) -> bool {
    let rest = uri.strip_prefix(root);
    rest.is_some_and(|rest| {
        rest.is_empty() || root.ends_with('/') || rest.starts_with(['/', '?', '#'])
    })
}
