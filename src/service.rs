//! The one seam between stages: whole requests go in, streaming responses come out.
//!
//! An MCP message is one JSON document. Whole, it can be signed, measured and, after a refused
//! credential, sent once more. Responses are never collected here.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use tower::util::BoxCloneSyncService;

use crate::failure::Failure;

/// A request with its whole body.
pub type Request = http::Request<Bytes>;

/// A response's body as it streams in; its errors already say what failed and where.
pub type Body = UnsyncBoxBody<Bytes, Failure>;

/// A response whose body is still arriving.
pub type Response = http::Response<Body>;

/// What every stage from the credentials to the connection pool looks like to the one before.
/// It is always ready: no stage holds back in `poll_ready`.
pub type HttpService = BoxCloneSyncService<Request, Response, Failure>;

/// The sensitive header values a refused request was sent with, attached to the extensions of
/// responses that are not 2xx, so that words quoted from an upstream can be cleaned of them.
#[derive(Clone, Debug)]
pub struct Carried(pub std::sync::Arc<[http::HeaderValue]>);

/// Those of them that are secrets without doubt: not what a user's `--header` says, which may be a
/// tenant's name and stand in a path for good reasons.
#[derive(Clone, Debug)]
pub struct Secrets(pub std::sync::Arc<[http::HeaderValue]>);

/// Our client certificate in words (subject and dates), attached to the extensions of responses
/// with which a gateway may refuse it.
#[derive(Clone, Debug)]
pub struct Presented(pub std::sync::Arc<str>);

/// Resolves when a connection that turned into another protocol has outlived the identity it was made
/// with; attached to the extensions of such responses, whose body can't tell.
#[derive(Clone)]
pub struct Outlived(pub std::sync::Arc<dyn Fn() -> BoxFuture<'static, Failure> + Send + Sync>);

/// Marks a request whose response may repeat what it was sent although it is a success: it has
/// [`Carried`] and [`Secrets`] too.
#[derive(Clone, Copy, Debug)]
pub struct Echoing;

/// Marks a request whose path is not shown: a session hangs on it.
#[derive(Clone, Copy, Debug)]
pub struct Unshown;

/// Marks a request that is a rehearsal: credentials are applied to it, and it is answered with 204
/// without having been sent. For who wants to know whether all of them can be had.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsal;
