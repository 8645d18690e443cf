//! Finding what a URI means on its token: a private key, or a certificate and those that issued it.
//!
//! A name has to mean one object: where it means none or several, the answer lists what there is.

use std::sync::Arc;

use cryptoki::object::{
    Attribute, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle,
};
use rustls::pki_types::CertificateDer;

use super::{
    Object,
    module::{self, Opened, Trouble, failed, refused},
};
use crate::{failure::Failure, secret::Secret, tls::chain};

/// Names of objects that are listed when the one that is meant is not there.
const LISTED: usize = 8;

/// The certificate, and after it those on the same token that issued it.
pub(super) fn chain(
    object: &Object,
    pin: Option<&Arc<Secret>>,
) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let opened = module::open(object, pin)?;
    let found = find(&opened, object, &certificates(object))?;
    let leaf = value(&opened, found).ok_or_else(|| {
        refused(format!("{object}: the certificate cannot be read from the token"))
    })?;
    let all = [Attribute::Class(ObjectClass::CERTIFICATE)];
    let others = opened.session.find_objects(&all).unwrap_or_default();
    let others: Vec<_> = others.into_iter().filter_map(|one| value(&opened, one)).collect();
    Ok(chain::ordered(leaf, &others))
}

/// A session, and in it the private key of this kind.
pub(super) fn open_key(
    object: &Object,
    pin: Option<&Arc<Secret>>,
    kind: KeyType,
) -> Result<(Opened, ObjectHandle), Trouble> {
    let opened = module::open(object, pin)?;
    let wanted =
        named(object, vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(kind)]);
    match find(&opened, object, &wanted) {
        Ok(handle) => Ok((opened, handle)),
        // Private objects are not even listed before the login.
        Err(_) if pin.is_none() && opened.token.login_required() => Err(refused(format!(
            "{object}: the token wants a PIN, and none is given"
        ))
        .hint("name where it is with --key-passphrase: env:NAME, file:PATH or command:PROGRAM")
        .into()),
        Err(failure) => Err(failure.into()),
    }
}

fn certificates(object: &Object) -> Vec<Attribute> {
    named(
        object,
        vec![
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
        ],
    )
}

fn named(object: &Object, mut wanted: Vec<Attribute>) -> Vec<Attribute> {
    let uri = &object.uri;
    wanted.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    wanted.extend(uri.id.clone().map(Attribute::Id));
    wanted
}

/// The one object that is wanted.
fn find(opened: &Opened, object: &Object, wanted: &[Attribute]) -> Result<ObjectHandle, Failure> {
    let search = |template: &[Attribute]| {
        let found = opened.session.find_objects(template);
        found.map_err(|error| failed(object, "cannot search the token", &error))
    };
    let found = search(wanted)?;
    match found[..] {
        [one] => Ok(one),
        [] => {
            // The class and the kind come first; without names, all of them.
            let others = search(&wanted[..2])?;
            Err(refused(format!("{object}: there is no such object on the token")).hint(
                if others.is_empty() {
                    "the token has no object of this class and kind that can be seen".to_owned()
                } else {
                    format!("it has: {}", names(opened, &others))
                },
            ))
        }
        _ => Err(refused(format!("{object}: several objects are meant"))
            .hint(format!("add object or id: {}", names(opened, &found)))),
    }
}

/// The objects as a URI would name them.
fn names(opened: &Opened, objects: &[ObjectHandle]) -> String {
    let name = |object: &ObjectHandle| {
        let wanted = [AttributeType::Label, AttributeType::Id];
        let mut uri = super::uri::Uri::default();
        for attribute in opened.session.get_attributes(*object, &wanted).unwrap_or_default() {
            match attribute {
                Attribute::Label(label) => uri.object = String::from_utf8(label).ok(),
                Attribute::Id(id) => uri.id = Some(id),
                _ => {}
            }
        }
        uri.to_string().replace(super::uri::SCHEME, "")
    };
    let more = if objects.len() > LISTED { ", and more" } else { "" };
    let listed: Vec<_> = objects.iter().take(LISTED).map(name).collect();
    format!("{}{more}", listed.join(", "))
}

fn value(opened: &Opened, object: ObjectHandle) -> Option<CertificateDer<'static>> {
    let attributes = opened.session.get_attributes(object, &[AttributeType::Value]).ok()?;
    attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::Value(der) => Some(CertificateDer::from(der)),
        _ => None,
    })
}
