//! `[profile.NAME.env]`: the variables that `countersign exec` starts a command with.
//!
//! A plain text is no value here but a reference, as everywhere where a secret is expected: what
//! is none says so, as `{ value = "..." }`.

use std::ffi::OsString;

use crate::{
    exec::{self, Settings, Value},
    failure::{Failure, Stage},
    secret::Reference,
};

use super::{
    layer::{Layer, Stated, Variable, VariableValue},
    scope::Scope,
    value::Item,
};

/// Reads the table.
pub(super) fn read(item: &Item<'_>) -> Result<Vec<Stated<Variable>>, Failure> {
    let read = |item: Item<'_>| {
        let name = item.name.to_owned();
        if name.is_empty() || name.contains(['=', '\0']) {
            let refused = item.place.refuse("expected the name of a variable");
            return Err(refused.hint("write it as NAME = \"file:PATH\""));
        }
        Ok(item.stated(Variable { name, value: value(&item)? }))
    };
    item.items()?.into_iter().map(read).collect()
}

fn value(item: &Item<'_>) -> Result<VariableValue, Failure> {
    let parts = if item.text().is_some() { Vec::new() } else { item.items()? };
    match parts.as_slice() {
        [only] if only.name == "value" => Ok(VariableValue::Text(only.string()?.value)),
        parts if parts.iter().any(|part| part.name == "value") => {
            Err(item.place.refuse("expected value or a reference, found both"))
        }
        _ => item.reference().map(VariableValue::Secret).map_err(|refused| {
            let other = "a text that is no secret is written { value = \"TEXT\" }";
            let hint = refused.next_step().map_or(other.into(), |hint| format!("{hint}; {other}"));
            refused.hint(hint)
        }),
    }
}

/// The settings, with templates filled in and references opened.
pub(super) fn settle(
    profile: Option<&Layer>,
    command: &[OsString],
    scope: &Scope<'_>,
) -> Result<Settings, Failure> {
    let example = "write them below [profile.NAME.env], as DB_PASSWORD = { file = \"PATH\" }";
    let Some(profile) = profile else {
        let what = "expected a profile that says which variables to set, found no file of profiles";
        return Err(Failure::new(Stage::Configuration, what).hint(format!(
            "name the file with --config FILE or in the variable COUNTERSIGN_CONFIG; {example}"
        )));
    };
    let Some(said) = &profile.env else {
        let what = "expected variables in the profile, found none";
        return Err(Failure::new(Stage::Configuration, what).hint(example));
    };
    let mut settings =
        Settings { command: command.to_vec(), variables: Vec::new(), withheld: Vec::new() };
    for Stated { value: Variable { name, value }, place } in said {
        if let VariableValue::Secret(Reference::Env(source)) = value {
            settings.withheld.push(source.clone());
        }
        let value = match value {
            VariableValue::Text(text) => Value::Text(scope.expand(place, text)?),
            VariableValue::Secret(reference) => Value::Secret(scope.open(place, reference)?),
        };
        let place = place.to_string();
        settings.variables.push(exec::Variable { name: name.clone(), place, value });
    }
    Ok(settings)
}
