//! A panic is a defect of ours, and its message may hold anything: values that were compared, bytes
//! that were sliced. So it is told by its place alone.

use std::panic::{self, Location};

use crate::stdio;

/// From now on a panic of any task says where it happened, and nothing of what was at hand there.
pub fn conceal() {
    panic::set_hook(Box::new(|info| stdio::last_words(&words(info.location()))));
}

fn words(place: Option<&Location<'_>>) -> String {
    let place = place.map_or_else(|| "a place that is not known".to_owned(), ToString::to_string);
    format!(
        "countersign: error: a part of it failed in a way that was not foreseen, at {place}\n\
         countersign: hint: this is a defect: please report it with this line and the version\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_said() {
        let said = words(Some(Location::caller()));
        assert!(said.contains("src/panic.rs:"), "{said}");
        assert!(words(None).contains("not known"));
    }
}
