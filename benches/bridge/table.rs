//! The figures as a table in Markdown.

use std::io::Write as _;

/// A line on stdout, at once.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Floor {
    /// Nothing is asked: it is there to be seen.
    None,
    /// Its ratio to the limit.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// The figure itself.
    AtMost(f64),
}

/// One row.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Where there is something to compare with.
    pub(crate) direct: Option<f64>,
    pub(crate) limit: Option<f64>,
    pub(crate) bridge: f64,
    pub(crate) floor: Floor,
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        self.limit.map(|limit| self.bridge / limit)
    }

    fn row(&self) -> String {
        let ratio = self.ratio();
        let met = |met: bool| if met { "yes" } else { "**no**" };
        let (floor, met) = match self.floor {
            Floor::None => (String::new(), ""),
            Floor::AtMost(most) => (format!("at most {most}"), met(self.bridge <= most)),
            Floor::RatioAtMost(most) => {
                (format!("at most {most}x"), met(ratio.is_some_and(|ratio| ratio <= most)))
            }
            Floor::RatioAtLeast(least) => {
                (format!("at least {least}x"), met(ratio.is_some_and(|ratio| ratio >= least)))
            }
        };
        let [direct, limit] =
            [self.direct, self.limit].map(|value| value.map_or_else(String::new, shown));
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
        let unit = if self.unit.is_empty() { String::new() } else { format!(", {}", self.unit) };
        let (name, bridge) = (&self.name, shown(self.bridge));
        format!("| {name}{unit} | {direct} | {limit} | {bridge} | {ratio} | {floor} | {met} |")
    }
}

/// Prints the rows as they come.
pub(crate) struct Table(());

impl Table {
    pub(crate) fn begin() -> Self {
        say("\n| figure | direct | limit | bridge | ratio | floor | met |\n\
             |---|--:|--:|--:|--:|---|---|");
        Self(())
    }

    #[expect(clippy::unused_self, reason = "rows come after the head")]
    pub(crate) fn add(&self, figure: &Figure) {
        say(&figure.row());
    }
}

/// Three digits or more.
fn shown(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
