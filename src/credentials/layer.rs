//! The layer that carries the credentials: requests go in bare and leave with all of them.
//!
//! The caller's values of headers that are ours never survive. When a credential can't be had,
//! the request fails and nothing is sent. A 401 proves that the request was not processed, and so
//! does a 403 to what only signs or is refused that way (each credential knows which it heeds):
//! when one could be renewed it is sent once more, and then never again. Of no other answer is
//! anything concluded.

use std::{
    convert::Infallible,
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use tokio::time::Instant;
use tower::{Service, ServiceExt, service_fn};

use super::{Credential, Generation, headers};
use crate::{
    failure::Failure,
    secret,
    service::{Carried, Echoing, HttpService, Rehearsal, Request, Response, Secrets},
};

/// `inner` with the credentials of `stack` on every request.
///
/// Responses that are not 2xx come back with [`Carried`] in their extensions, and so do those to
/// requests with [`Echoing`].
#[must_use]
pub fn carry(stack: Vec<Arc<dyn Credential>>, inner: HttpService) -> HttpService {
    let stack = Arc::new(Stack::new(stack));
    HttpService::new(service_fn(move |request| {
        let (stack, inner) = (Arc::clone(&stack), inner.clone());
        async move { stack.carry(request, inner).await }
    }))
}

/// For how long after a renewal in vain there is no other.
const RENEWED_IN_VAIN: Duration = Duration::from_secs(5);

fn is_refusal(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Whether a secret could not be had, rather than used.
fn is_of_a_secret(failure: &Failure) -> bool {
    let mut source = failure.source();
    while let Some(error) = source {
        if error.is::<secret::Error>() {
            return true;
        }
        source = error.source();
    }
    false
}

struct Stack {
    credentials: Vec<Arc<dyn Credential>>,
    /// What is removed from requests as they come in.
    owned: Vec<HeaderName>,
    /// What a user's fixed headers set, which is not always a secret.
    fixed: Vec<HeaderName>,
    /// Whether a second try is thinkable at all.
    renewable: bool,
    /// What was refused although it had just been renewed, and when.
    rejected: Mutex<Option<(Vec<Generation>, Instant)>>,
}

/// One sending of a request, and what it was sent with.
struct Attempt {
    response: Response,
    generations: Vec<Generation>,
    carried: Vec<HeaderValue>,
    secrets: Vec<HeaderValue>,
}

impl Stack {
    fn new(credentials: Vec<Arc<dyn Credential>>) -> Self {
        // Who calls upstream is decided here, also where nothing is configured to say it.
        let mut owned = vec![header::AUTHORIZATION, header::PROXY_AUTHORIZATION];
        for name in credentials.iter().flat_map(|credential| credential.owns()) {
            if !owned.contains(name) {
                owned.push(name.clone());
            }
        }
        let renewable = credentials.iter().any(|credential| credential.renewable());
        let fixed = credentials.iter().filter(|credential| credential.name() == headers::FIXED);
        let fixed = fixed.flat_map(|credential| credential.owns()).cloned();
        let fixed = fixed.filter(|name| *name != header::AUTHORIZATION).collect();
        Self { credentials, owned, fixed, renewable, rejected: Mutex::new(None) }
    }

    async fn carry(
        &self,
        mut request: Request,
        mut inner: HttpService,
    ) -> Result<Response, Failure> {
        for name in &self.owned {
            request.headers_mut().remove(name);
        }
        if request.extensions().get::<Rehearsal>().is_some() {
            return self.rehearse(request).await;
        }
        let echoing = request.extensions().get::<Echoing>().is_some();
        // The map of headers is the one thing in a request that is dear to clone.
        let spare = self.renewable.then(|| request.clone());
        let mut attempt = self.send(request, &mut inner).await?;
        if is_refusal(&attempt.response)
            && let Some(request) = spare
            && !self.is_rejected(&attempt.generations)
        {
            let (parts, body) = attempt.response.into_parts();
            if self.refused(&attempt.generations, &parts).await {
                tracing::debug!("refused, and a credential was renewed: sending once more");
                drop(body);
                attempt = self.send(request, &mut inner).await?;
                if is_refusal(&attempt.response) {
                    let rejected = (attempt.generations.clone(), Instant::now());
                    *self.rejected.lock().unwrap_or_else(PoisonError::into_inner) = Some(rejected);
                }
            } else {
                attempt.response = Response::from_parts(parts, body);
            }
        }
        let Attempt { mut response, carried, secrets, .. } = attempt;
        if echoing || !response.status().is_success() {
            response.extensions_mut().insert(Secrets(secrets.into()));
            // What later stages added, such as cookies, is told by them.
            let later = response.extensions_mut().remove::<Carried>();
            let later = later.iter().flat_map(|carried| carried.0.iter().cloned());
            let all = carried.into_iter().chain(later).collect();
            response.extensions_mut().insert(Carried(all));
        }
        Ok(response)
    }

    /// Applies all credentials and sends nothing. What fails for want of a caller's header alone is
    /// no failure of a rehearsal.
    async fn rehearse(&self, mut request: Request) -> Result<Response, Failure> {
        for credential in &self.credentials {
            match credential.apply(&mut request).await {
                Err(failure) if !credential.reads_headers() || is_of_a_secret(&failure) => {
                    return Err(failure);
                }
                _ => {}
            }
        }
        let nothing = Empty::new().map_err(|never: Infallible| match never {});
        let mut response = Response::new(nothing.boxed_unsync());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Whether these were renewed a moment ago and refused all the same: it is not their age then,
    /// and to renew them for every call would only double it.
    fn is_rejected(&self, generations: &[Generation]) -> bool {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected
            .as_ref()
            .is_some_and(|(rejected, at)| rejected == generations && at.elapsed() < RENEWED_IN_VAIN)
    }

    async fn send(
        &self,
        mut request: Request,
        inner: &mut HttpService,
    ) -> Result<Attempt, Failure> {
        let mut generations = Vec::with_capacity(self.credentials.len());
        for credential in &self.credentials {
            generations.push(credential.apply(&mut request).await?);
        }
        let sensitive = || request.headers().iter().filter(|(_, value)| value.is_sensitive());
        let carried = sensitive().map(|(_, value)| value.clone()).collect();
        let secret = sensitive().filter(|(name, _)| !self.fixed.contains(name));
        let secrets = secret.map(|(_, value)| value.clone()).collect();
        let response = inner.ready().await?.call(request).await?;
        Ok(Attempt { response, generations, carried, secrets })
    }

    /// Tells every credential, since any of them can be the one; whether one was renewed.
    async fn refused(&self, generations: &[Generation], response: &http::response::Parts) -> bool {
        let mut again = false;
        for (credential, generation) in self.credentials.iter().zip(generations) {
            again |= credential.refused(*generation, response).await;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{fs, sync::Mutex};

    use bytes::Bytes;
    use futures_util::future::join_all;
    use http_body_util::{BodyExt, Empty};

    use super::*;
    use crate::{
        credentials::{Settings, authorization, stack, tests::held},
        failure::Stage,
        secret::{Held, Reference},
    };

    /// What an upstream was sent; it accepts one `Authorization` and refuses all others.
    #[derive(Clone, Default)]
    struct Upstream(Arc<Mutex<Vec<http::HeaderMap>>>);

    impl Upstream {
        fn accepting(&self, token: &'static str) -> HttpService {
            self.answering(move |headers| {
                let sent = headers.get(header::AUTHORIZATION);
                if sent.is_some_and(|sent| sent == token) { 200 } else { 401 }
            })
        }

        fn answering(
            &self,
            status: impl Fn(&http::HeaderMap) -> u16 + Clone + Send + Sync + 'static,
        ) -> HttpService {
            let sent = Arc::clone(&self.0);
            HttpService::new(service_fn(move |request: Request| {
                let status = status(request.headers());
                sent.lock().unwrap().push(request.headers().clone());
                async move {
                    tokio::task::yield_now().await;
                    let body = Empty::<Bytes>::new().map_err(|never| match never {});
                    Ok(http::Response::builder().status(status).body(body.boxed_unsync()).unwrap())
                }
            }))
        }

        fn sent(&self) -> Vec<http::HeaderMap> {
            self.0.lock().unwrap().clone()
        }
    }

    fn bearer(token: Held) -> Vec<Arc<dyn Credential>> {
        let authorization = Some(authorization::Settings::Bearer(token));
        stack(&Settings { authorization, ..Settings::default() })
    }

    async fn call(service: &HttpService, headers: &[(&str, &str)]) -> Result<Response, Failure> {
        let mut request = http::Request::builder().method("POST").uri("https://upstream/mcp");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        service.clone().oneshot(request.body(Bytes::from_static(b"{}")).unwrap()).await
    }

    fn carried(response: &Response) -> Option<Vec<HeaderValue>> {
        response.extensions().get::<Carried>().map(|carried| carried.0.to_vec())
    }

    #[tokio::test]
    async fn nothing_of_the_callers_own_identity_survives() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::default();
        let theirs = [
            ("authorization", "Bearer theirs"),
            ("authorization", "Basic theirs"),
            ("proxy-authorization", "Basic theirs"),
            ("x-tenant", "theirs"),
            ("x-api-key", "theirs"),
            ("accept", "application/json"),
        ];
        let key = held(&folder.path().join("key"), "key");
        let settings = Settings {
            headers: vec![
                headers::Header::new("X-Tenant", "a").unwrap(),
                headers::Header::new("X-Tenant", "b").unwrap(),
            ],
            authorization: Some(authorization::Settings::Bearer(key.clone())),
            api_keys: vec![headers::ApiKey::new(headers::ApiKey::DEFAULT_NAME, key).unwrap()],
            ..Settings::default()
        };
        let inner = upstream.answering(|_| 202);
        call(&carry(stack(&settings), inner.clone()), &theirs).await.unwrap();
        call(&carry(Vec::new(), inner), &theirs[..3]).await.unwrap();

        let sent = upstream.sent();
        let values = |name| sent[0].get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values("authorization"), ["Bearer key"]);
        assert_eq!(values("x-tenant"), ["a", "b"]);
        assert_eq!(values("x-api-key"), ["key"]);
        assert_eq!(values("accept"), ["application/json"]);
        assert_eq!(sent[0].len(), 5);
        assert!(sent[0].iter().all(|(name, value)| value.is_sensitive() || name == "accept"));
        assert!(sent[1].is_empty(), "not even where none of ours takes their place");
    }

    #[tokio::test]
    async fn nothing_is_sent_without_its_credential() {
        let upstream = Upstream::default();
        let argv = vec!["/no/such/program".to_owned()];
        let token = Held::open(Reference::Command { argv, ttl: None }).unwrap();
        let service = carry(bearer(token), upstream.answering(|_| 200));
        let failure = call(&service, &[]).await.unwrap_err();
        assert_eq!(failure.stage(), Stage::Credential);
        assert!(failure.what().contains("command:/no/such/program"), "{failure}");
        assert!(failure.next_step().unwrap().contains("full path"));
        assert!(upstream.sent().is_empty());
    }

    #[tokio::test]
    async fn a_refused_file_that_has_changed_is_sent_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let upstream = Upstream::default();
        let service = carry(bearer(held(&path, "old")), upstream.accepting("Bearer new"));
        fs::write(&path, "new").unwrap();
        let response = call(&service, &[("x-trace", "1")]).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(carried(&response).is_none(), "a 2xx carries nothing");
        let sent = upstream.sent();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0][header::AUTHORIZATION], "Bearer old");
        assert_eq!(sent[1].get_all(header::AUTHORIZATION).iter().count(), 1);
        assert_eq!(sent[1]["x-trace"], "1");
    }

    #[tokio::test]
    async fn a_second_refusal_is_final_and_says_what_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let upstream = Upstream::default();
        let service = carry(bearer(held(&path, "old")), upstream.accepting("Bearer third"));
        fs::write(&path, "new").unwrap();
        let response = call(&service, &[]).await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(carried(&response).unwrap(), ["Bearer new"]);
        assert_eq!(upstream.sent().len(), 2);
    }

    #[tokio::test]
    async fn only_a_401_with_something_new_to_say_is_answered_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (status, changed) in [(401, false), (403, true), (500, true), (307, true)] {
            let upstream = Upstream::default();
            let service = carry(bearer(held(&path, "old")), upstream.answering(move |_| status));
            if changed {
                fs::write(&path, "new").unwrap();
            }
            let response = call(&service, &[]).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(carried(&response).unwrap(), ["Bearer old"]);
            assert_eq!(upstream.sent().len(), 1, "{status}");
        }
    }

    #[tokio::test]
    async fn a_broken_second_reading_keeps_the_last_good_value_and_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let upstream = Upstream::default();
        let service = carry(bearer(held(&path, "old")), upstream.accepting("Bearer new"));
        fs::remove_file(&path).unwrap();
        assert_eq!(call(&service, &[]).await.unwrap().status(), 401);
        assert_eq!(call(&service, &[]).await.unwrap().status(), 401);
        assert!(upstream.sent().iter().all(|sent| sent[header::AUTHORIZATION] == "Bearer old"));
        fs::write(&path, "new").unwrap();
        assert_eq!(call(&service, &[]).await.unwrap().status(), 200);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_tenants_name_is_carried_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::default();
        let headers = ["X-Tenant: acme", "Authorization: Basic abcd"];
        let settings = Settings {
            headers: headers.map(|line| headers::Header::parse(line).unwrap()).to_vec(),
            api_keys: vec![
                headers::ApiKey::new("X-Key", held(&folder.path().join("key"), "canary")).unwrap(),
            ],
            ..Settings::default()
        };
        let service = carry(stack(&settings), upstream.answering(|_| 307));
        let response = call(&service, &[]).await.unwrap();
        let carried = carried(&response).unwrap();
        assert!(carried.contains(&HeaderValue::from_static("acme")) && carried.len() == 3);
        let secrets = response.extensions().get::<Secrets>().unwrap();
        assert_eq!(*secrets.0, ["Basic abcd", "canary"]);
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_renewed_once_in_a_while_and_not_for_every_call() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let script = format!("echo >>'{0}'; wc -l <'{0}' | tr -d ' '", runs.display());
        let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let token = Held::open(Reference::Command { argv, ttl: None }).unwrap();
        let upstream = Upstream::default();
        let service = carry(bearer(token), upstream.accepting("none"));
        for _ in 0..5 {
            assert_eq!(call(&service, &[]).await.unwrap().status(), 401);
        }
        assert_eq!(upstream.sent().len(), 6, "the first twice, the others once");
        tokio::time::pause();
        tokio::time::advance(RENEWED_IN_VAIN).await;
        tokio::time::resume();
        call(&service, &[]).await.unwrap();
        assert_eq!(upstream.sent().len(), 8);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn twenty_refused_at_once_cause_one_new_reading() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let script = format!("echo >>'{0}'; wc -l <'{0}' | tr -d ' '", runs.display());
        let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let token = Held::open(Reference::Command { argv, ttl: None }).unwrap();
        let upstream = Upstream::default();
        let service = carry(bearer(token), upstream.accepting("Bearer 2"));
        let answers = join_all((0..20).map(|_| call(&service, &[]))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
        assert_eq!(fs::read_to_string(&runs).unwrap().lines().count(), 2);
        assert_eq!(upstream.sent().len(), 40);
    }
}
