//! `[profile.NAME.env]`: the variables that `countersign exec` starts a command with.
//!
//! A plain text is no value here but a reference, as everywhere where a secret is expected: what
//! is none says so, as `{ value = "..." }`.

use std::ffi::OsString;

use crate::{
    exec::{Settings, Value, Variable},
    failure::{Failure, Stage},
    secret::Reference,
};

use super::{place::Stated, scope::Scope, value::Item};

/// A variable and what it is to hold.
pub(super) struct Said {
    name: String,
    value: Form,
}

enum Form {
    Text(String),
    Secret(Reference),
}

/// Reads the table.
pub(super) fn read(item: &Item<'_>) -> Result<Vec<Stated<Said>>, Failure> {
    let read = |item: Item<'_>| {
        let name = item.name.to_owned();
        if name.is_empty() || name.contains(['=', '\0']) {
            let refused = item.place.refuse("expected the name of a variable");
            return Err(refused.hint("write it as NAME = \"file:PATH\""));
        }
        Ok(item.stated(Said { name, value: form(&item)? }))
    };
    item.items()?.into_iter().map(read).collect()
}

fn form(item: &Item<'_>) -> Result<Form, Failure> {
    let parts = if item.text().is_some() { Vec::new() } else { item.items()? };
    match parts.as_slice() {
        [only] if only.name == "value" => Ok(Form::Text(only.string()?.value)),
        parts if parts.iter().any(|part| part.name == "value") => {
            Err(item.place.refuse("expected value or a reference, found both"))
        }
        _ => item.reference().map(Form::Secret).map_err(|refused| {
            let other = "a text that is no secret is written { value = \"TEXT\" }";
            let hint = refused.next_step().map_or(other.into(), |hint| format!("{hint}; {other}"));
            refused.hint(hint)
        }),
    }
}

const EXAMPLE: &str = "write them below [profile.NAME.env], as DB_PASSWORD = { file = \"PATH\" }";

/// The failure where there is no file that could say which variables to set.
pub(super) fn without_a_file() -> Failure {
    let what = "expected a profile that says which variables to set, found no file of profiles";
    Failure::new(Stage::Configuration, what).hint(format!(
        "name the file with --config FILE or in the variable COUNTERSIGN_CONFIG; {EXAMPLE}"
    ))
}

/// The settings, with templates filled in and references opened.
pub(super) fn settle(
    said: Option<&Vec<Stated<Said>>>,
    command: &[OsString],
    scope: &Scope<'_>,
) -> Result<Settings, Failure> {
    let said = said.ok_or_else(|| {
        let what = "expected variables in the profile, found none";
        Failure::new(Stage::Configuration, what).hint(EXAMPLE)
    })?;
    let mut settings =
        Settings { command: command.to_vec(), variables: Vec::new(), withheld: Vec::new() };
    for Stated { value: Said { name, value }, place } in said {
        if let Form::Secret(Reference::Env(source)) = value {
            settings.withheld.push(source.clone());
        }
        let value = match value {
            Form::Text(text) => Value::Text(scope.expand(place, text)?),
            Form::Secret(reference) => Value::Secret(scope.open(place, reference)?),
        };
        let place = place.to_string();
        settings.variables.push(Variable { name: name.clone(), place, value });
    }
    Ok(settings)
}
