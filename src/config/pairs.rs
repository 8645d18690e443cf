//! `NAME=VALUE,NAME=VALUE`, the form in which a flag says what a profile says in a table.
//!
//! A dotted name is a table in the table, as in TOML; `true` and `false` are what they are there.
//! A value ends at the next comma: what needs one in it belongs in a profile.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The pairs as a table; a text that has no `=` in it, or a reference before it, is a string.
///
/// Fails with the name that is said twice, or is said to be a value and a table.
pub(super) fn read(text: &str) -> Result<DeValue<'_>, &str> {
    if !text.split(',').all(is_pair) {
        return Ok(DeValue::String(text.into()));
    }
    let mut table = DeTable::new();
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        insert(&mut table, name, value).ok_or(name)?;
    }
    Ok(DeValue::Table(table))
}

fn is_pair(text: &str) -> bool {
    let named = |name: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        !name.is_empty() && name.bytes().all(letters)
    };
    text.split_once('=').is_some_and(|(name, _)| named(name))
}

/// None where the name is taken.
fn insert<'t>(table: &mut DeTable<'t>, name: &'t str, value: &'t str) -> Option<()> {
    let spanned = |text: &'t str| Spanned::new(0..0, text.into());
    if let Some((name, rest)) = name.split_once('.') {
        let inner = table
            .entry(spanned(name))
            .or_insert_with(|| Spanned::new(0..0, DeValue::Table(DeTable::new())));
        return match inner.get_mut() {
            DeValue::Table(inner) => insert(inner, rest, value),
            _ => None,
        };
    }
    let value = match value {
        "true" => DeValue::Boolean(true),
        "false" => DeValue::Boolean(false),
        _ => DeValue::String(value.into()),
    };
    match table.insert(spanned(name), Spanned::new(0..0, value)) {
        None => Some(()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_a_table_and_all_else_is_text() {
        let Ok(DeValue::Table(table)) =
            read("alg=ES256,key=file:a=b,claims.role=x,per_request=true")
        else {
            panic!()
        };
        let text = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
        assert_eq!(text(table["alg"].get_ref()).as_deref(), Some("ES256"));
        assert_eq!(text(table["key"].get_ref()).as_deref(), Some("file:a=b"));
        assert_eq!(table["per_request"].get_ref().as_bool(), Some(true));
        let claims = table["claims"].get_ref().as_table();
        assert_eq!(claims.and_then(|claims| text(claims["role"].get_ref())).as_deref(), Some("x"));
        for plain in ["prog", "prog --a=b", "a=b,c", "", "=x", "aws:amz:eu:es"] {
            assert_eq!(read(plain).ok().as_ref().and_then(DeValue::as_str), Some(plain), "{plain}");
        }
        for (twice, name) in [("a=x,a=y", "a"), ("a=x,a.b=y", "a.b"), ("a.b=x,a=y", "a")] {
            assert_eq!(read(twice).err(), Some(name), "{twice}");
        }
    }
}
