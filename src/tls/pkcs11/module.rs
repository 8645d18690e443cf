//! The library that knows the token, and a session on the token that a URI means.
//!
//! Every call blocks in foreign code for as long as it likes; the callers see to where that may be.
//! A module is loaded once for the life of the process (`C_Initialize` is of the process), and a PIN
//! that was refused is not tried again: three wrong ones lock most tokens, and a reload every few
//! seconds would get there within a minute.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
    types::RawAuthPin,
};

use super::{Object, uri::Uri};
use crate::{
    failure::{Failure, Stage},
    secret::Secret,
};

/// Why there is no session.
pub(super) enum Trouble {
    /// The token refused the PIN.
    Pin,
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// A session, logged in where there is a PIN, and the token it is on.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) module: Pkcs11,
    pub(super) slot: Slot,
    pub(super) token: TokenInfo,
}

/// Opens a session on the one token that the object's URI means.
pub(super) fn open(object: &Object, pin: Option<&Arc<Secret>>) -> Result<Opened, Trouble> {
    let module = load(&object.module).map_err(|error| unloaded(object, &error))?;
    let (slot, token) = choose(&module, object)?;
    let session = module
        .open_ro_session(slot)
        .map_err(|error| failed(object, "cannot open a session", &error))?;
    if let Some(pin) = pin {
        login(object, &session, &token, pin)?;
    }
    Ok(Opened { session, module, slot, token })
}

fn load(path: &Path) -> Result<Pkcs11, Error> {
    static LOADED: Mutex<Vec<(Box<Path>, Pkcs11)>> = Mutex::new(Vec::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = loaded.iter().find(|(known, _)| **known == *path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // The same library under another name.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error),
    }
    loaded.push((path.into(), module.clone()));
    Ok(module)
}

fn choose(module: &Pkcs11, object: &Object) -> Result<(Slot, TokenInfo), Failure> {
    let slots = module
        .get_slots_with_token()
        .map_err(|error| failed(object, "cannot list the tokens", &error))?;
    // A slot that cannot be read is none that could be meant.
    let tokens: Vec<(Slot, TokenInfo)> = slots
        .into_iter()
        .filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?)))
        .filter(|(_, token)| token.token_initialized())
        .collect();
    let names = |tokens: &[(Slot, TokenInfo)]| {
        let name = |(slot, token): &(Slot, TokenInfo)| {
            let (label, serial) = (token.label(), token.serial_number());
            format!("{label} (serial {serial}, slot-id {})", slot.id())
                .replace(char::is_control, " ")
        };
        tokens.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let meant: Vec<(Slot, TokenInfo)> =
        tokens.iter().filter(|(slot, token)| means(&object.uri, *slot, token)).cloned().collect();
    match <[_; 1]>::try_from(meant) {
        Ok([token]) => Ok(token),
        Err(none) if none.is_empty() => {
            let failure = refused(format!("{object}: there is no such token"));
            Err(failure.hint(if tokens.is_empty() {
                format!("the module {} knows of no token at all", object.module.display())
            } else {
                format!("the module has: {}", names(&tokens))
            }))
        }
        Err(several) => Err(refused(format!("{object}: several tokens are meant"))
            .hint(format!("add serial or slot-id: {}", names(&several)))),
    }
}

fn means(uri: &Uri, slot: Slot, token: &TokenInfo) -> bool {
    let same =
        |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    same(&uri.token, token.label())
        && same(&uri.manufacturer, token.manufacturer_id())
        && same(&uri.serial, token.serial_number())
        && same(&uri.model, token.model())
        && uri.slot.is_none_or(|wanted| wanted == slot.id())
}

fn login(
    object: &Object,
    session: &Session,
    token: &TokenInfo,
    pin: &Arc<Secret>,
) -> Result<(), Trouble> {
    static REFUSED: Mutex<Vec<(String, Arc<Secret>)>> = Mutex::new(Vec::new());
    let mut refused_before = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let serial = token.serial_number();
    if refused_before.iter().any(|(of, wrong)| of == serial && wrong == pin) {
        return Err(Trouble::Pin);
    }
    let raw = RawAuthPin::new(Box::new(pin.expose().to_vec()));
    match session.login_with_raw(UserType::User, &raw) {
        // The login is of the process: an older session of ours has it.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            _,
        )) => {
            refused_before.push((serial.to_owned(), Arc::clone(pin)));
            Err(Trouble::Pin)
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => {
            Err(refused(format!("{object}: the token has locked itself after too many wrong PINs"))
                .hint("its owner unlocks it with the PUK or the security officer's PIN")
                .into())
        }
        Err(error) => Err(failed(object, "cannot log in", &error).into()),
    }
}

fn unloaded(object: &Object, error: &Error) -> Failure {
    let module = object.module.display();
    match error {
        // The loader's own words name the file and what is wrong with it.
        Error::LibraryLoading(error) => {
            refused(format!("{object}: cannot load the module {module}: {error}"))
        }
        Error::MissingSymbol(_) => {
            refused(format!("{object}: {module} is a library, but no PKCS#11 module"))
        }
        error => failed(object, &format!("cannot initialize the module {module}"), error),
    }
    .hint("module-path in the URI or --pkcs11-module names the token's library")
}

/// A call that the module refused, by the name that its documentation has for the reason.
pub(super) fn failed(object: &Object, what: &str, error: &Error) -> Failure {
    refused(format!("{object}: {what}: {}", reason(error)))
}

/// The reason for a refusal, in short.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Pkcs11(reason, function) => format!("{reason:?} (C_{function:?})"),
        other => other.to_string(),
    }
}

pub(super) fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}
