//! The claims as they were said: any value that TOML has and JSON can hold.
//!
//! A variable in a text may bring braces, which are then no fields: only what stands in the
//! configuration itself is searched for them.

use toml::de::DeValue;

use crate::{
    credentials::jwt::{Claim, RESERVED, Text},
    failure::Failure,
};

use super::super::super::{
    place::{Place, Stated},
    scope::Scope,
    value::Item,
};

/// Claims that have a key of their own.
const OWN_KEYS: [&str; 3] = ["iss", "sub", "aud"];

/// All claims, in the order in which they were said.
#[derive(Default)]
pub(super) struct Claims(Vec<(String, Stated<Value>)>);

/// A claim as it was said, its texts still templates.
enum Value {
    Text(String),
    Number(serde_json::Number),
    Truth(bool),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl Claims {
    /// The claim that has the name of the key.
    pub(super) fn add_text(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        let text = item.string()?.value;
        self.0.push((item.name.to_owned(), item.stated(Value::Text(text))));
        Ok(())
    }

    /// The same, where a list is a list, also of one.
    pub(super) fn add_audience(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        if item.text().is_some() {
            return self.add_text(item);
        }
        let list = item.strings()?;
        if list.is_empty() {
            return Err(item.place.refuse("expected an audience, found an empty list"));
        }
        let list = list.into_iter().map(|text| Value::Text(text.value)).collect();
        self.0.push((item.name.to_owned(), item.stated(Value::List(list))));
        Ok(())
    }

    /// All claims of a table.
    pub(super) fn add_all(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        for claim in item.items()? {
            if RESERVED.contains(&claim.name) {
                let refused = claim.place.refuse("the claim is set anew in each token");
                return Err(refused.hint(match claim.name {
                    "exp" => "remove it; lifetime says how long a token is good for",
                    _ => "remove it",
                }));
            }
            if OWN_KEYS.contains(&claim.name) {
                let refused = claim.place.refuse("the claim has a key of its own");
                return Err(refused.hint(format!("write {} beside claims, not in it", claim.name)));
            }
            let value = read(&claim.place, claim.value())?;
            self.0.push((claim.name.to_owned(), claim.stated(value)));
        }
        Ok(())
    }

    /// The claims with templates filled in, and fields found.
    pub(super) fn settle(
        &self,
        per_request: bool,
        scope: &Scope<'_>,
    ) -> Result<Vec<(String, Claim)>, Failure> {
        let settled = self.0.iter().map(|(name, Stated { value, place })| {
            Ok((name.clone(), settle(value, place, per_request, scope)?))
        });
        settled.collect()
    }
}

fn read(place: &Place, value: &DeValue<'_>) -> Result<Value, Failure> {
    Ok(match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        // RFC 3339 is what TOML has; a claim in seconds is written as a number.
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Boolean(truth) => Value::Truth(*truth),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            let too_large = |_| place.refuse("expected a number of 64 bits, found a larger one");
            Value::Number(number.map_err(too_large)?.into())
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            let refused = || place.refuse("expected a number that JSON has, found inf or nan");
            Value::Number(number.ok_or_else(refused)?)
        }
        DeValue::Array(list) => {
            let list = list.iter().map(|value| read(place, value.get_ref()));
            Value::List(list.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let table = table.iter().map(|(name, value)| {
                Ok((name.get_ref().to_string(), read(place, value.get_ref())?))
            });
            Value::Table(table.collect::<Result<_, Failure>>()?)
        }
    })
}

fn settle(
    value: &Value,
    place: &Place,
    per_request: bool,
    scope: &Scope<'_>,
) -> Result<Claim, Failure> {
    let settled = |value| settle(value, place, per_request, scope);
    Ok(match value {
        Value::Number(number) => Claim::Number(number.clone()),
        Value::Truth(truth) => Claim::Truth(*truth),
        Value::List(list) => Claim::List(list.iter().map(settled).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let table = table.iter().map(|(name, value)| Ok((name.clone(), settled(value)?)));
            Claim::Table(table.collect::<Result<_, Failure>>()?)
        }
        Value::Text(text) => {
            let text = expand(place, text, scope)?;
            let text = Text::new(&text, per_request);
            Claim::Text(text.map_err(|failure| place.blame(&failure))?)
        }
    })
}

/// The text with its variables filled in, and their braces written twice.
pub(super) fn expand(place: &Place, text: &str, scope: &Scope<'_>) -> Result<String, Failure> {
    if text.is_empty() {
        return Ok(String::new());
    }
    // The whole first: it may not have white space at its ends, of which its parts may have some.
    scope.expand(place, text)?;
    scope.expand_beside_fields(place, text)
}
