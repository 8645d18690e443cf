//! `--aws-sigv4` and `aws_sigv4`: what was said of it, and what it comes to.
//!
//! Keys are looked for where the AWS tools look, in their order: what is said here, the variables,
//! the shared files. So is the region, only that the name of the host goes before the variables.

use http::HeaderName;

use crate::{
    credentials::aws_sigv4::{
        AccessKeyId, Endpoint, Given, HEADERS, Settings, SharedFiles, Source,
    },
    failure::Failure,
    secret::{Held, Reference, Secret, environment},
};

use super::super::{
    forms,
    place::{Place, Stated},
    scope::Scope,
    value::Item,
};

const NAMES: [&str; 9] = [
    "region",
    "service",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "aws_profile",
    "credentials_file",
    "config_file",
    "content_sha256_header",
];

const FORM: &str = "write it as aws:amz:REGION:SERVICE, as in aws:amz:eu-west-1:execute-api";

/// What was said. Boxed, since most configurations have none of it.
pub(in crate::config) struct Said(Box<Keys>);

#[derive(Default)]
struct Keys {
    region: Option<Stated<String>>,
    service: Option<Stated<String>>,
    access_key_id: Option<Stated<Id>>,
    secret_access_key: Option<Stated<Reference>>,
    session_token: Option<Stated<Reference>>,
    aws_profile: Option<Stated<String>>,
    credentials_file: Option<Stated<String>>,
    config_file: Option<Stated<String>>,
    content_sha256_header: bool,
}

enum Id {
    Text(String),
    Reference(Reference),
}

impl Said {
    /// Reads `aws:amz:REGION:SERVICE`, or a table.
    pub(in crate::config) fn read(item: &Item<'_>) -> Result<Self, Failure> {
        if let Some(text) = item.text() {
            return of_text(&item.place, text).map(|said| Self(Box::new(said)));
        }
        let mut said = Keys::default();
        for item in item.items()? {
            match item.name {
                "region" => said.region = Some(item.string()?),
                "service" => said.service = Some(item.string()?),
                "access_key_id" => said.access_key_id = Some(item.stated(id(&item)?)),
                "secret_access_key" => {
                    said.secret_access_key = Some(item.stated(item.reference()?));
                }
                "session_token" => said.session_token = Some(item.stated(item.reference()?)),
                "aws_profile" => said.aws_profile = Some(item.string()?),
                "credentials_file" => said.credentials_file = Some(item.string()?),
                "config_file" => said.config_file = Some(item.string()?),
                "content_sha256_header" => said.content_sha256_header = item.boolean()?,
                _ => return Err(item.unknown(&NAMES)),
            }
        }
        said.one_source()?;
        Ok(Self(Box::new(said)))
    }

    /// The headers it owns.
    pub(super) fn headers(&self) -> Vec<String> {
        HEADERS.iter().map(HeaderName::to_string).collect()
    }

    /// The settings for the upstream `host`, with templates filled in and references opened.
    pub(in crate::config) fn settle(
        &self,
        place: &Place,
        scope: &Scope<'_>,
        host: &str,
    ) -> Result<Settings, Failure> {
        self.0.settle(place, scope, host)
    }
}

impl Keys {
    /// Keys are said whole, and in one way.
    fn one_source(&self) -> Result<(), Failure> {
        let file = self.aws_profile.as_ref().or(self.credentials_file.as_ref());
        match (&self.access_key_id, &self.secret_access_key, &self.session_token) {
            (Some(id), Some(_), _) => match file {
                Some(_) => Err(id
                    .place
                    .refuse("expected keys from one source, found them here and in AWS's files")
                    .hint("remove the keys, or aws_profile and credentials_file")),
                None => Ok(()),
            },
            (Some(id), None, _) => Err(id
                .place
                .refuse("expected a secret_access_key beside it, found none")
                .hint("refer to it, as in secret_access_key = \"env:NAME\"")),
            (None, Some(secret), _) => Err(secret
                .place
                .refuse("expected an access_key_id beside it, found none")
                .hint("write it down or refer to it, as in access_key_id = \"env:NAME\"")),
            (None, None, Some(token)) => Err(token
                .place
                .refuse("expected the key that it belongs to beside it, found none")
                .hint("add access_key_id and secret_access_key")),
            (None, None, None) => Ok(()),
        }
    }

    fn settle(&self, place: &Place, scope: &Scope<'_>, host: &str) -> Result<Settings, Failure> {
        let source = self.source(place, scope)?;
        let text =
            |said: &Option<Stated<String>>| said.as_ref().map(|said| scope.text(said)).transpose();
        let endpoint = Endpoint::of_host(host);
        let region = match text(&self.region)?.or(endpoint.region.map(str::to_owned)) {
            Some(region) => region,
            None => self.region_elsewhere(place, scope, &source)?,
        };
        let service = text(&self.service)?.or(endpoint.service.map(str::to_owned));
        let service = service.ok_or_else(|| {
            let what = format!("expected an AWS service, found none, and the host {host} names none");
            let hint = "add it, as in aws:amz:eu-west-1:execute-api (API Gateway), lambda (function \
                        URLs) or bedrock-agentcore";
            place.refuse(what).hint(hint)
        })?;
        Settings::new(region, service, source, self.content_sha256_header)
            .map_err(|failure| place.blame(&failure))
    }

    /// The region where neither what was said nor the host has one.
    fn region_elsewhere(
        &self,
        place: &Place,
        scope: &Scope<'_>,
        source: &Source,
    ) -> Result<String, Failure> {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        if let Some(region) = variables.into_iter().find_map(|name| variable(scope, name)) {
            return Ok(region);
        }
        let files = match source {
            Source::Shared(files) => files.clone(),
            Source::Given(_) => self.files(place, scope)?,
        };
        let region = files.region().map_err(|failure| place.blame(&failure))?;
        region.ok_or_else(|| {
            let what = format!(
                "expected an AWS region, found none: not here, not in the name of the host, not in \
                 AWS_REGION, not for the profile {} in {}",
                files.profile,
                files.config.display()
            );
            place.refuse(what).hint(FORM)
        })
    }

    fn source(&self, place: &Place, scope: &Scope<'_>) -> Result<Source, Failure> {
        if let (Some(id), Some(secret)) = (&self.access_key_id, &self.secret_access_key) {
            let token = self.session_token.as_ref();
            return Ok(Source::Given(Given {
                access_key_id: match &id.value {
                    Id::Text(text) => AccessKeyId::Plain(scope.expand(&id.place, text)?),
                    Id::Reference(reference) => {
                        AccessKeyId::Held(scope.open(&id.place, reference)?)
                    }
                },
                secret_access_key: scope.open(&secret.place, &secret.value)?,
                session_token: token
                    .map(|token| scope.open(&token.place, &token.value))
                    .transpose()?,
            }));
        }
        // Who names a profile or a file means it: to the AWS tools, too, the variables of another
        // identity do not count then.
        if self.looks_at_files() {
            return Ok(Source::Shared(self.files(place, scope)?));
        }
        match of_environment(scope)? {
            Some(given) => Ok(Source::Given(given)),
            None => Ok(Source::Shared(self.files(place, scope)?)),
        }
    }

    fn looks_at_files(&self) -> bool {
        self.aws_profile.is_some() || self.credentials_file.is_some()
    }

    fn files(&self, place: &Place, scope: &Scope<'_>) -> Result<SharedFiles, Failure> {
        let path = |said: &Option<Stated<String>>, name: &'static str, usual: &str| {
            let of_environment = || {
                let value = variable(scope, name)?;
                Some(Stated { value, place: Place::Variable(name) })
            };
            match said {
                Some(said) => scope.path(said),
                None => scope.path(&of_environment().unwrap_or_else(|| Stated {
                    value: usual.to_owned(),
                    // Below the home directory, wherever this was said.
                    place: place.clone(),
                })),
            }
        };
        Ok(SharedFiles {
            credentials: path(
                &self.credentials_file,
                "AWS_SHARED_CREDENTIALS_FILE",
                "~/.aws/credentials",
            )?,
            config: path(&self.config_file, "AWS_CONFIG_FILE", "~/.aws/config")?,
            profile: match &self.aws_profile {
                Some(said) => scope.text(said)?,
                None => variable(scope, "AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
            },
            after_environment: !self.looks_at_files(),
        })
    }
}

/// `provider1[:provider2[:region[:service]]]`, as curl has it.
fn of_text(place: &Place, text: &str) -> Result<Keys, Failure> {
    let parts: Vec<&str> = text.split(':').collect();
    let (region, service) = match *parts.as_slice() {
        ["aws"] | ["aws", "amz"] => (None, None),
        ["aws", "amz", region] => (Some(region), None),
        ["aws", "amz", region, service] => (Some(region), Some(service)),
        ["aws", "amz", ..] => {
            let what = "expected aws:amz:REGION:SERVICE, found more than four parts";
            return Err(place.refuse(what).hint(FORM));
        }
        _ => {
            let what = "expected the provider aws:amz, which is the only one, found another";
            return Err(place.refuse(what).hint(FORM));
        }
    };
    let said = |part: Option<&str>| {
        let part = part.filter(|part| !part.is_empty())?;
        Some(Stated { value: part.to_owned(), place: place.clone() })
    };
    Ok(Keys { region: said(region), service: said(service), ..Keys::default() })
}

/// A reference where it has the form of one, else the id itself: it is no secret, and has no colon.
fn id(item: &Item<'_>) -> Result<Id, Failure> {
    match item.text() {
        Some(text) if text.starts_with("${") || !text.contains(':') => {
            Ok(Id::Text(text.to_owned()))
        }
        Some(text) => forms::reference(&item.place, text).map(Id::Reference),
        None => item.reference().map(Id::Reference),
    }
}

/// The keys in the environment, where it has any.
fn of_environment(scope: &Scope<'_>) -> Result<Option<Given>, Failure> {
    let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    let Some(access_key_id) = variable(scope, id) else { return Ok(None) };
    let Some(secret_access_key) = held(scope, secret) else {
        let refused = Place::Variable(id).refuse(format_args!("it is set, and {secret} is not"));
        return Err(refused.hint(format!("hand both over in \"env\", or unset {id}")));
    };
    let session_token = held(scope, "AWS_SESSION_TOKEN");
    // Without its key, an id would only mislead the programs that we start.
    environment::withhold(id);
    let access_key_id = AccessKeyId::Held(given(id, access_key_id));
    Ok(Some(Given { access_key_id, secret_access_key, session_token }))
}

/// A secret of the environment, which no program that we start needs.
fn held(scope: &Scope<'_>, name: &str) -> Option<Held> {
    let value = variable(scope, name)?;
    environment::withhold(name);
    Some(given(name, value))
}

fn given(name: &str, value: String) -> Held {
    Held::given(Reference::Env(name.to_owned()), Secret::new(value))
}

/// A variable of the AWS tools; to them, one that is empty is not set. One that holds its own
/// template was left unfilled by the client.
fn variable(scope: &Scope<'_>, name: &str) -> Option<String> {
    let unfilled = format!("${{{name}}}");
    scope.variable(name).filter(|value| !value.is_empty() && *value != unfilled)
}

#[cfg(test)]
mod tests;
