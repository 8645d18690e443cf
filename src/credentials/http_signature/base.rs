//! The text that is signed (RFC 9421, section 2.5), a function of what it is given and nothing else.
//!
//! A line for each component, and the parameters of the signature as the last. It is made whole or
//! not at all.

use sfv::{Integer, ItemSerializer, KeyRef, ListSerializer, ParameterSerializer, StringRef};

use super::{super::outgoing::Outgoing, algorithm::Algorithm, component::Components};
use crate::failure::Failure;

/// What a signature says of itself (section 2.3). Written in this order, which is the RFC's in its
/// examples.
#[derive(Default)]
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
        out.parameters(self.tag.map(|tag| (TAG, tag)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use bytes::Bytes;
    use http::HeaderValue;
    use proptest::prelude::*;
    use sfv::FieldType;

    use super::{super::component::Component, *};

    proptest! {
        #[test]
        fn a_base_has_a_line_for_each_component_in_order(
            value in prop::collection::vec(prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..], 0..24),
            query in "[a-zA-Z0-9=&%+?/.~-]{0,24}",
            order in Just(["@query", "x-any", "@method", "x-none?", "x-any;bs"]).prop_shuffle(),
        ) {
            let request = http::Request::get(format!("https://a/?{query}"))
                .header("x-any", HeaderValue::from_bytes(&value).unwrap())
                .body(Bytes::new())
                .unwrap();
            let components = order.iter().map(|it| Component::parse(it).unwrap()).collect();
            let components = Components::new(components).unwrap();
            let base = Base::new(&Outgoing::new(&request), &components, &Parameters::default());
            prop_assert_eq!(base.is_ok(), value.is_ascii());
            if let Ok(base) = base {
                let names: Vec<_> =
                    base.text.split('\n').map(|line| line.split_once(": ").unwrap().0).collect();
                let there = components.0.iter().filter(|it| !it.optional);
                let identifiers: Vec<_> = there.map(|it| it.identifier.serialize()).collect();
                prop_assert_eq!(names.split_last().unwrap().1, &identifiers);
                prop_assert_eq!(names.last().unwrap(), &"\"@signature-params\"");
                prop_assert_eq!(base.input, format!("({})", identifiers.join(" ")));
            }
        }
    }
}
