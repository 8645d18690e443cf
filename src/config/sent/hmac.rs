//! `--hmac` and `hmac`: what was said of it, and what it comes to.

use crate::{
    credentials::{
        hmac::{Algorithm, Digest, Draft, KeyId, PRESETS, Settings, Timestamp},
        key::Encoding,
    },
    failure::Failure,
    secret::Reference,
};

use super::super::{
    forms,
    place::{Place, Stated},
    scope::Scope,
    value::Item,
};

const KEYS: [&str; 10] = [
    "preset",
    "algorithm",
    "key",
    "key_encoding",
    "key_id",
    "string_to_sign",
    "timestamp",
    "digest",
    "header",
    "headers",
];

/// What was said: the scheme, preset and changes to it put together, and where its key is.
pub(in crate::config) struct Said {
    draft: Draft,
    key: Reference,
    encoding: Encoding,
    key_id: Option<Id>,
}

enum Id {
    Name(String),
    Secret(Reference),
}

/// The keys, each by itself.
#[derive(Default)]
struct Given {
    preset: Option<Stated<String>>,
    algorithm: Algorithm,
    key: Option<Reference>,
    encoding: Encoding,
    key_id: Option<Id>,
    string_to_sign: Option<String>,
    timestamp: Option<Stated<Timestamp>>,
    digest: Option<Digest>,
    header: Option<Stated<String>>,
    headers: Option<Vec<(String, String)>>,
}

impl Said {
    /// Reads the table of a profile, or the pairs of the flag.
    pub(in crate::config) fn read(item: &Item<'_>) -> Result<Self, Failure> {
        let mut given = Given::default();
        for item in item.items()? {
            given.set(&item)?;
        }
        let Some(key) = given.key.take() else {
            let refused = item.place.refuse("expected a key, found a table without one");
            return Err(refused.hint("name where it is: key = \"env:HMAC_SECRET\""));
        };
        let (encoding, key_id) = (given.encoding, given.key_id.take());
        Ok(Self { draft: given.draft(item)?, key, encoding, key_id })
    }

    /// The headers it owns.
    pub(super) fn headers(&self) -> Vec<String> {
        self.draft.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The settings, with templates filled in and references opened.
    pub(in crate::config) fn settle(
        &self,
        place: &Place,
        scope: &Scope<'_>,
    ) -> Result<Settings, Failure> {
        let draft = self.draft(place, scope)?;
        let key_id = match &self.key_id {
            None => None,
            Some(Id::Name(name)) => Some(KeyId::Name(scope.expand(place, name)?)),
            Some(Id::Secret(reference)) => Some(KeyId::Secret(scope.open(place, reference)?)),
        };
        let key = scope.open(place, &self.key)?;
        Settings::new(&draft, key, self.encoding, key_id).map_err(|failure| place.blame(&failure))
    }

    /// The scheme with its variables filled in.
    fn draft(&self, place: &Place, scope: &Scope<'_>) -> Result<Draft, Failure> {
        let mut draft = self.draft.clone();
        for (_, text) in &mut draft.headers {
            *text = scope.expand_beside_fields(place, text)?;
        }
        // TOML's literal strings and command lines have no other way to say it; what a variable
        // holds is left as it is.
        let text = draft.string_to_sign.replace("\\n", "\n");
        draft.string_to_sign = scope.expand_beside_fields(place, &text)?;
        Ok(draft)
    }
}

impl Given {
    fn set(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        match item.name {
            "preset" => self.preset = Some(item.string()?),
            "algorithm" => {
                self.algorithm = item.one_of(&[
                    ("sha256", Algorithm::Sha256),
                    ("sha384", Algorithm::Sha384),
                    ("sha512", Algorithm::Sha512),
                    ("sha1", Algorithm::Sha1),
                ])?;
            }
            "key" => self.key = Some(item.reference()?),
            "key_encoding" => self.encoding = item.key_encoding()?,
            "key_id" => self.key_id = Some(key_id(item)?),
            "string_to_sign" => self.string_to_sign = Some(item.string()?.value),
            "timestamp" => {
                self.timestamp = Some(item.stated(item.one_of(&[
                    ("unix", Timestamp::Unix),
                    ("unix_ms", Timestamp::UnixMs),
                    ("rfc3339", Timestamp::Rfc3339),
                ])?));
            }
            "digest" => {
                self.digest = Some(item.one_of(&[
                    ("hex", Digest::Hex),
                    ("base64", Digest::Base64),
                    ("base64url", Digest::Base64Url),
                ])?);
            }
            "header" => self.header = Some(item.string()?),
            "headers" => {
                let headers = item.items()?.into_iter();
                let text = |header: Item<'_>| {
                    header.string().map(|text| (header.name.to_owned(), text.value))
                };
                self.headers = Some(headers.map(text).collect::<Result<_, Failure>>()?);
            }
            _ => return Err(item.unknown(&KEYS)),
        }
        Ok(())
    }

    /// The preset with what was said besides it, or what was said alone.
    fn draft(self, item: &Item<'_>) -> Result<Draft, Failure> {
        if let (Some(header), Some(_)) = (&self.header, &self.headers) {
            let what =
                "header renames the one of a preset, and headers takes the place of them all";
            return Err(header.place.refuse(what).hint("keep one of the two"));
        }
        let header = self.header.as_ref().map(|header| header.value.as_str());
        let base = match (&self.preset, &self.string_to_sign, &self.headers) {
            (Some(preset), ..) => {
                Draft::preset(&preset.value, self.algorithm, header).ok_or_else(|| {
                    let expected = format!("expected {}", PRESETS.join(", "));
                    preset.place.refuse("unknown preset").hint(expected)
                })?
            }
            (None, Some(_), Some(_)) => Draft {
                algorithm: self.algorithm,
                digest: Digest::default(),
                timestamp: Timestamp::default(),
                string_to_sign: String::new(),
                headers: Vec::new(),
            },
            _ => {
                let what = "expected a preset, or string_to_sign and headers";
                let hint = format!("the presets are {}", PRESETS.join(", "));
                return Err(item.place.refuse(what).hint(hint));
            }
        };
        if let (None, Some(header)) = (&self.preset, &self.header) {
            let what = "header renames the one of a preset, and there is no preset";
            return Err(header.place.refuse(what).hint("name it in headers"));
        }
        let draft = Draft {
            algorithm: self.algorithm,
            digest: self.digest.unwrap_or(base.digest),
            timestamp: self.timestamp.as_ref().map_or(base.timestamp, |said| said.value),
            string_to_sign: self.string_to_sign.unwrap_or(base.string_to_sign),
            headers: self.headers.unwrap_or(base.headers),
        };
        match self.timestamp {
            Some(said) if !has_timestamp(&draft) => {
                let refused = said.place.refuse("the scheme has no {timestamp} to be written so");
                Err(refused.hint("remove it, or sign and send the {timestamp}"))
            }
            _ => Ok(draft),
        }
    }
}

fn has_timestamp(draft: &Draft) -> bool {
    let sent = draft.headers.iter().map(|(_, text)| text);
    sent.chain([&draft.string_to_sign]).any(|text| text.contains("{timestamp}"))
}

/// A reference, or a name that is none.
fn key_id(item: &Item<'_>) -> Result<Id, Failure> {
    match item.text() {
        Some(text) if !forms::looks_like_a_reference(text) => Ok(Id::Name(text.to_owned())),
        _ => Ok(Id::Secret(item.reference()?)),
    }
}

#[cfg(test)]
mod tests;
