//! The text that is signed (RFC 9421, section 2.5), a function of what it is given and nothing else.
//!
//! A line for each component, and the parameters of the signature as the last. It is made whole or
//! not at all.

use sfv::{Integer, ItemSerializer, KeyRef, ListSerializer, ParameterSerializer, StringRef};

use super::{super::outgoing::Outgoing, algorithm::Algorithm, component::Components};
use crate::failure::Failure;

/// What a signature says of itself (section 2.3). Written in this order, which is the RFC's in its
/// examples.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters<'p> {
    /// Unix seconds.
    pub(super) created: Option<Integer>,
    pub(super) keyid: Option<&'p StringRef>,
    pub(super) alg: Option<Algorithm>,
    /// Unix seconds.
    pub(super) expires: Option<Integer>,
    pub(super) nonce: Option<&'p StringRef>,
    pub(super) tag: Option<&'p StringRef>,
}

/// What is signed, and what says so.
#[derive(Debug)]
pub(super) struct Base {
    /// The signature base.
    pub(super) text: String,
    /// What is covered, and the parameters: the member of `Signature-Input`.
    pub(super) input: String,
}

impl Base {
    /// The base of a request.
    ///
    /// Fails, at [`Stage::Credential`](crate::failure::Stage::Credential), when a component is not
    /// there or can't be written.
    pub(super) fn new(
        request: &Outgoing<'_>,
        components: &Components,
        parameters: &Parameters<'_>,
    ) -> Result<Self, Failure> {
        let mut text = String::with_capacity(1024);
        let mut list = ListSerializer::new();
        let mut covered = list.inner_list();
        for component in &components.0 {
            let Some(value) = component.value(request)? else { continue };
            let identifier = &component.identifier;
            covered.items([identifier]);
            ItemSerializer::with_buffer(&mut text)
                .bare_item(&identifier.bare_item)
                .parameters(&identifier.params)
                .finish()
                .extend([": ", &*value, "\n"]);
        }
        parameters.write(covered.finish());
        let input = list.finish().unwrap_or_default();
        text.extend(["\"@signature-params\": ", &*input]);
        Ok(Self { text, input })
    }
}

impl Parameters<'_> {
    fn write(&self, mut out: ParameterSerializer<&mut String>) {
        const CREATED: &KeyRef = KeyRef::constant("created");
        const KEYID: &KeyRef = KeyRef::constant("keyid");
        const ALG: &KeyRef = KeyRef::constant("alg");
        const EXPIRES: &KeyRef = KeyRef::constant("expires");
        const NONCE: &KeyRef = KeyRef::constant("nonce");
        const TAG: &KeyRef = KeyRef::constant("tag");

        out = out.parameters(self.created.map(|created| (CREATED, created)));
        out = out.parameters(self.keyid.map(|keyid| (KEYID, keyid)));
        out = out.parameters(self.alg.map(|alg| (ALG, alg.text())));
        out = out.parameters(self.expires.map(|expires| (EXPIRES, expires)));
        out = out.parameters(self.nonce.map(|nonce| (NONCE, nonce)));
        out = out.parameters(self.tag.map(|tag| (TAG, tag)));
        drop(out);
    }
}
