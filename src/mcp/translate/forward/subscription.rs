//! What a legacy client is told without asking, or has subscribed to one resource after the other: one
//! `subscriptions/listen` towards a modern server (2026-07-28 subscriptions).
//!
//! Where the wishes change, a new stream is acknowledged before the old one is closed, so that nothing
//! falls between them. One that breaks is opened again, after pauses that grow. A subscribe request is
//! answered once its resource is acknowledged: what changes from then on is told.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Forward, Purpose, answer,
    calls::{Call, Step, parameter},
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit,
        exchange::{Command, ExchangeId, Timer},
        message::{Id, Message},
        notification,
        refusal::{self, INVALID_PARAMS, METHOD_NOT_FOUND},
    },
};

/// How long a stream may take to be acknowledged, and has to stand to count as steady.
const SETTLING: Duration = Duration::from_secs(10);
/// Streams that may fail in a row before one was ever acknowledged: the server may have none.
const FAILURES: u32 = 5;
/// Resources that a client may subscribe to: more than a user can look at.
const RESOURCES: usize = 1_024;

/// The lists whose changes can be told, as the filter calls them ("Notification Filter").
const LISTS: [(&str, &str); 3] = [
    ("tools", "toolsListChanged"),
    ("prompts", "promptsListChanged"),
    ("resources", "resourcesListChanged"),
];

/// The pause after `failures` in a row: 1 s, doubled up to a minute.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(60))
}

/// The one subscription of a client.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    offer: Offer,
    /// The client has initialized: from then on it may be told.
    begun: bool,
    resources: BTreeSet<Box<str>>,
    /// What the server has acknowledged.
    standing: Option<Stream>,
    /// What it has not yet.
    opening: Option<Stream>,
    /// The subscribe requests that wait for it, each with its resource.
    waiting: Vec<(Id, Box<str>)>,
    /// How often in a row a stream broke or was refused.
    failures: u32,
    /// Whether one was ever acknowledged.
    proven: bool,
    /// The timer of the pause, if there is one.
    pausing: Option<u64>,
}

/// One `subscriptions/listen`.
#[derive(Debug)]
struct Stream {
    number: u64,
    id: Id,
    exchange: Option<ExchangeId>,
    filter: Filter,
}

/// What is wanted to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    /// In the order of `LISTS`.
    lists: [bool; 3],
    resources: BTreeSet<Box<str>>,
}

/// What a server can tell.
#[derive(Debug, Default)]
pub(super) struct Offer {
    lists: [bool; 3],
    /// Changes of single resources; none where it has not said.
    resources: Option<bool>,
}

impl Offer {
    /// What the `capabilities` of a server offer.
    pub(super) fn read(capabilities: Option<&RawValue>) -> Self {
        let text = capabilities.map_or("{}", RawValue::get).as_bytes();
        let offers =
            |kind, what| edit::member(text, &[kind, what]).is_some_and(|it| it.get() == "true");
        let lists = LISTS.map(|(kind, _)| offers(kind, "listChanged"));
        Self { lists, resources: Some(offers("resources", "subscribe")) }
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.lists == [false; 3]
    }

    /// As the request has it.
    fn json(&self) -> String {
        let lists = LISTS.iter().zip(self.lists).filter(|(_, wanted)| *wanted);
        let mut members: Vec<String> =
            lists.map(|((_, name), _)| format!(r#""{name}":true"#)).collect();
        if !self.resources.is_empty() {
            members.push(format!(r#""resourceSubscriptions":{}"#, json!(self.resources)));
        }
        format!("{{{}}}", members.join(","))
    }

    /// What of this an acknowledgement leaves out ("Acknowledgment"). As many resources as were asked
    /// for are those, however the server writes them.
    fn left_out(&self, acknowledged: &Message) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Granted {
            tools_list_changed: bool,
            prompts_list_changed: bool,
            resources_list_changed: bool,
            resource_subscriptions: BTreeSet<Box<str>>,
        }
        let granted = edit::member(acknowledged.bytes(), &["params", "notifications"]);
        let granted: Granted =
            granted.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let [tools, prompts, resources] = self.lists;
        let lists = [
            tools && !granted.tools_list_changed,
            prompts && !granted.prompts_list_changed,
            resources && !granted.resources_list_changed,
        ];
        let given = &granted.resource_subscriptions;
        let all = given.len() >= self.resources.len();
        let resources = if all { BTreeSet::new() } else { &self.resources - given };
        Self { lists, resources }
    }
}

impl Subscription {
    /// The number of the subscription whose stream an exchange is.
    pub(super) fn carried_by(&self, exchange: ExchangeId) -> Option<u64> {
        let streams = self.standing.iter().chain(&self.opening);
        streams.into_iter().find(|it| it.exchange == Some(exchange)).map(|it| it.number)
    }

    /// The client has cancelled a subscribe request.
    pub(super) fn forget(&mut self, id: &Id) {
        self.waiting.retain(|(waiting, _)| waiting != id);
    }

    /// Takes out the subscribe requests that wait for such resources.
    fn no_longer_waiting(&mut self, such: impl Fn(&str) -> bool) -> Vec<(Id, Box<str>)> {
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (out, still) = all.partition(|(_, uri)| such(uri));
        self.waiting = still;
        out
    }

    fn wanted(&self) -> Filter {
        Filter { lists: self.offer.lists, resources: self.resources.clone() }
    }
}

impl Forward {
    /// The client has initialized, anew perhaps.
    pub(super) fn subscription_begins_anew(&mut self, offer: Offer) {
        let before = std::mem::take(&mut self.subscription);
        for stream in before.standing.into_iter().chain(before.opening) {
            self.withdraw(&stream.id);
        }
        for (id, _) in before.waiting {
            self.finish(&id, answer::empty(&id));
        }
        self.subscription.offer = offer;
    }

    /// The client may be told of changes from now on (2025-11-25 lifecycle, "Initialization").
    pub(super) fn subscription_may_begin(&mut self) {
        if !std::mem::replace(&mut self.subscription.begun, true) {
            self.refresh();
        }
    }

    pub(super) fn subscribe(&mut self, id: Id, message: &Message) {
        let Some(uri) = parameter(message, "uri") else {
            let line = answer::refused(&id, INVALID_PARAMS, "params have no uri");
            return self.deliver(line);
        };
        if self.subscription.offer.resources == Some(false) {
            let what = "the server has no subscriptions to resources";
            return self.deliver(answer::refused(&id, METHOD_NOT_FOUND, what));
        }
        let uri: Box<str> = uri.into();
        let known = self.subscription.resources.contains(&uri);
        if !known && self.subscription.resources.len() >= RESOURCES {
            let what = format!("more than {RESOURCES} resources are subscribed to");
            return self.deliver(answer::refused(&id, INVALID_PARAMS, &what));
        }
        let standing = self.subscription.standing.as_ref();
        if known && standing.is_some_and(|stream| stream.filter.resources.contains(&uri)) {
            return self.deliver(answer::empty(&id));
        }
        let call = Call::new("resources/subscribe", message.clone(), Step::Subscribing);
        self.calls.insert(id.clone(), call);
        self.subscription.begun = true;
        self.subscription.resources.insert(uri.clone());
        self.subscription.waiting.push((id, uri));
        self.refresh();
    }

    pub(super) fn unsubscribe(&mut self, id: &Id, message: &Message) {
        let Some(uri) = parameter(message, "uri") else {
            let line = answer::refused(id, INVALID_PARAMS, "params have no uri");
            return self.deliver(line);
        };
        self.subscription.resources.remove(uri.as_str());
        for (subscribing, _) in self.subscription.no_longer_waiting(|it| *it == *uri) {
            self.finish(&subscribing, answer::empty(&subscribing));
        }
        self.deliver(answer::empty(id));
        self.refresh();
    }

    /// Brings what the server tells to what is wanted.
    fn refresh(&mut self) {
        if self.closing || !self.subscription.begun || self.subscription.opening.is_some() {
            // A stream that is being opened is looked at again once it is acknowledged.
            return;
        }
        self.subscription.pausing = None;
        self.answer_those_told();
        let wanted = self.subscription.wanted();
        if wanted.is_empty() {
            if let Some(stream) = self.subscription.standing.take() {
                self.withdraw(&stream.id);
            }
        } else if self.subscription.standing.as_ref().is_none_or(|it| it.filter != wanted) {
            self.open(wanted);
        }
    }

    /// Answers the subscribe requests that the standing stream does for, where another that was to
    /// replace it has failed: it may be that nothing else is opened.
    fn answer_those_told(&mut self) {
        let Some(standing) = self.subscription.standing.take() else { return };
        let told = &standing.filter.resources;
        let answered = self.subscription.no_longer_waiting(|uri| told.contains(uri));
        self.subscription.standing = Some(standing);
        for (id, _) in answered {
            self.finish(&id, answer::empty(&id));
        }
    }

    fn open(&mut self, filter: Filter) {
        let (number, id) = (self.number(), self.fresh_id());
        let (token, meta, wanted) = (id.token(), self.profile.meta(), filter.json());
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{token},"method":"subscriptions/listen","params":{{"_meta":{meta},"notifications":{wanted}}}}}"#
        );
        // It is put together of what was parsed.
        let Ok(message) = Message::parse(Bytes::from(text)) else { return };
        self.sent.insert(id.clone(), Purpose::Subscription(number));
        self.subscription.opening = Some(Stream { number, id, exchange: None, filter });
        let exchange = self.say(message);
        // It may have been refused by now.
        if let Some(opening) = self.subscription.opening.as_mut().filter(|it| it.number == number) {
            opening.exchange = exchange;
            self.out.push(Command::After(SETTLING, Timer::Subscription(number)));
        }
    }

    /// A notification on the stream of a subscription.
    pub(super) fn subscription_said(&mut self, number: u64, method: &str, message: &Message) {
        match method {
            "notifications/subscriptions/acknowledged" => self.acknowledged(number, Some(message)),
            // It says that the stream ends, which it then does (cancellation, "Behavior Requirements").
            "notifications/cancelled" => {}
            _ => self.deliver(answer::unsubscribed(message.bytes())),
        }
    }

    /// The server has taken a subscription on, or has had its time to say so.
    fn acknowledged(&mut self, number: u64, message: Option<&Message>) {
        let Some(mut stream) = self.subscription.opening.take_if(|it| it.number == number) else {
            return;
        };
        match message.map(|message| stream.filter.left_out(message)) {
            Some(left_out) if left_out.is_empty() => {}
            Some(left_out) => {
                tracing::warn!("the server does not tell of all that was subscribed to");
                self.not_taken_on(&left_out, &mut stream.filter);
            }
            None => tracing::warn!("the server does not acknowledge the subscription"),
        }
        if self.subscription.failures > 1 {
            self.catch_up(&stream.filter);
        }
        self.subscription.proven = true;
        let filter = &stream.filter;
        let answered = self.subscription.no_longer_waiting(|uri| filter.resources.contains(uri));
        if let Some(old) = self.subscription.standing.replace(stream) {
            self.withdraw(&old.id);
        }
        for (id, _) in answered {
            self.finish(&id, answer::empty(&id));
        }
        self.refresh();
    }

    /// Refuses the subscribe requests whose resources the server has left out.
    fn not_taken_on(&mut self, left_out: &Filter, filter: &mut Filter) {
        let refused = self.subscription.no_longer_waiting(|uri| left_out.resources.contains(uri));
        for (id, uri) in refused {
            self.subscription.resources.remove(&uri);
            filter.resources.remove(&uri);
            let what = "the server does not tell of changes of this resource";
            self.finish(&id, answer::refused(&id, INVALID_PARAMS, what));
        }
    }

    /// After an outage all that was subscribed to may have changed.
    fn catch_up(&mut self, filter: &Filter) {
        for ((name, _), _) in LISTS.iter().zip(filter.lists).filter(|(_, wanted)| *wanted) {
            self.deliver(notification::list_changed(name));
        }
        for line in answer::updated(&filter.resources) {
            self.deliver(line);
        }
    }

    /// The server has ended a subscription, with a result ("Graceful Closure") or an error, or its stream
    /// broke.
    pub(super) fn subscription_ended(&mut self, number: u64, error: Option<&[u8]>) {
        self.subscription.standing.take_if(|it| it.number == number);
        let opening = self.subscription.opening.take_if(|it| it.number == number);
        if let Some(stream) = opening {
            self.subscribing_failed(&stream.filter, error);
        }
        if self.subscription.opening.is_some() || self.closing {
            return;
        }
        if !self.subscription.waiting.is_empty() {
            // These came later, and what has failed is not among what they want.
            return self.refresh();
        }
        let wanted = self.subscription.wanted();
        let standing = self.subscription.standing.as_ref();
        if !wanted.is_empty() && standing.is_none_or(|it| it.filter != wanted) {
            self.open_later(error);
        }
    }

    fn open_later(&mut self, error: Option<&[u8]>) {
        self.subscription.failures += 1;
        let failures = self.subscription.failures;
        let unknown = error.and_then(refusal::code) == Some(METHOD_NOT_FOUND);
        if unknown || (!self.subscription.proven && failures > FAILURES) {
            tracing::warn!("the server takes no subscription on: its changes are not told");
            self.subscription.offer.lists = [false; 3];
            return;
        }
        tracing::info!(failures, "the subscription has ended, and is opened again");
        let timer = self.number();
        self.subscription.pausing = Some(timer);
        self.out.push(Command::After(pause(failures), Timer::Subscription(timer)));
    }

    /// Answers the subscribe requests that a stream was opened for, which the server did not take on.
    fn subscribing_failed(&mut self, filter: &Filter, error: Option<&[u8]>) {
        for (id, uri) in self.subscription.no_longer_waiting(|uri| filter.resources.contains(uri)) {
            self.subscription.resources.remove(&uri);
            match error {
                Some(error) => {
                    let line = format!(
                        r#"{{"jsonrpc":"2.0","id":{},"error":{}}}"#,
                        id.token(),
                        String::from_utf8_lossy(error)
                    );
                    self.finish(&id, Bytes::from(line));
                }
                None => {
                    let what = format!("{} ended the subscription at once", self.upstream);
                    self.fail(&id, &Failure::new(Stage::Protocol, what).hint("subscribe again"));
                }
            }
        }
    }

    pub(super) fn subscription_elapsed(&mut self, number: u64) {
        let subscription = &mut self.subscription;
        if subscription.pausing.take_if(|timer| *timer == number).is_some() {
            self.refresh();
        } else if subscription.standing.as_ref().is_some_and(|it| it.number == number) {
            subscription.failures = 0;
        } else if subscription.opening.as_ref().is_some_and(|it| it.number == number) {
            self.acknowledged(number, None);
        }
    }
}
