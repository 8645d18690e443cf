//! The name that was probably meant.

/// The one of `known` that is a slip or two away from `written`, if any is.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    // The flag's spelling is the commonest slip, and is none.
    let written = written.to_ascii_lowercase().replace('-', "_");
    let slips = |name: &&&str| distance(&written, name);
    let closest = known.iter().min_by_key(slips)?;
    (distance(&written, closest) <= 1 + closest.len() / 4).then_some(*closest)
}

/// The edit distance: insertions, deletions and replacements from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, from) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_name_and_other_words_find_none() {
        let known = ["cert", "key", "key_passphrase", "cacert", "http", "headers"];
        for (written, expected) in [
            ("cert", Some("cert")),
            ("certt", Some("cert")),
            ("key-passphrase", Some("key_passphrase")),
            ("keyPassphrase", Some("key_passphrase")),
            ("KEY", Some("key")),
            ("header", Some("headers")),
            ("ca_cert", Some("cacert")),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known), expected, "{written}");
        }
    }
}
