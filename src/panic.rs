//! A defect that made a part of the program panic, told without its words.
//!
//! What a panic says may hold anything: a header, a key, a line of the client. So the hook that is
//! set here in place of the standard library's tells where it happened, and neither what was said
//! nor a backtrace. The panic itself goes on as ever: that of one task does not end the others.

use std::{
    io::Write as _,
    panic::{self, Location},
};

/// From now on, no panic of any thread shows its words.
pub fn install() {
    panic::set_hook(Box::new(|panic| tell(&said(panic.location()))));
}

fn said(place: Option<&Location<'_>>) -> String {
    let place = place.map_or_else(|| "a place unknown".to_owned(), Location::to_string);
    format!("this is a defect: a part of it panicked at {place}; please report it with this line")
}

fn tell(words: &str) {
    if tracing::event_enabled!(tracing::Level::ERROR) {
        tracing::error!("{words}");
    } else {
        // There is no log yet. Nobody is left to be told if this fails.
        let _ = writeln!(std::io::stderr(), "countersign: error: {words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_its_place() {
        let place = Location::caller();
        let (file, line, column) = (file!(), place.line(), place.column());
        let expected = format!("a part of it panicked at {file}:{line}:{column}; please report");
        assert!(said(Some(place)).contains(&expected), "{}", said(Some(place)));
        assert!(said(None).contains("panicked at a place unknown"));
    }
}
