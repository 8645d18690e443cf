//! What is made from the definition of the command line: completions and the man page. They are
//! committed, so that packages need nothing to make them, and held here to what the code says.
//!
//! `UPDATE=1 cargo test --test it generated` writes them anew.

use std::{env, fs};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use countersign::cli::Cli;

use super::root;

const NAME: &str = "countersign";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The page's own words, after what the flags say.
const ENDINGS: [(&str, &str); 3] = [
    (
        "ENVIRONMENT",
        "API_URL is the MCP server where no URL is given, COUNTERSIGN_CONFIG the file of \
             profiles, HTTPS_PROXY, ALL_PROXY and NO_PROXY the way there.",
    ),
    (
        "EXIT STATUS",
        "0 when stdin has ended and every call was answered, 1 when it failed while running, 2 \
             when the command line is not understood, 78 when the configuration does not hold; \
             126 and 127 when exec finds no command that it can start.",
    ),
    ("SEE ALSO", "curl(1), openssl(1), systemd.exec(5)"),
];

/// The definition, with what clap adds by itself. The values of a flag stand in its name's place.
fn definition() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    with_values(command)
}

fn with_values(command: clap::Command) -> clap::Command {
    command.mut_subcommands(with_values).mut_args(|it| {
        let values: Vec<_> =
            it.get_possible_values().iter().map(|it| it.get_name().to_owned()).collect();
        // A switch has the values true and false, and takes neither.
        if values.is_empty() || !it.get_action().takes_values() {
            return it;
        }
        it.value_name(&*values.join("|").leak()).hide_possible_values(true)
    })
}

/// The completions of a shell.
fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    String::from_utf8(text).unwrap()
}

/// One page: the bridge, then a section for each command.
fn page() -> String {
    let command = definition();
    let man = Man::new(command.clone());
    // No date: it would change without the page.
    let title = format!(".TH {} 1 \"\" \"{NAME} {VERSION}\"\n", NAME.to_uppercase());
    let mut text = title.into_bytes();
    head(&command).to_writer(&mut text).unwrap();
    synopsis(&command).to_writer(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    man.render_options_section(&mut text).unwrap();
    for command in command.get_subcommands().filter(|it| it.get_name() != "help") {
        text.extend(section(command));
    }
    examples(&command).to_writer(&mut text).unwrap();
    let mut rest = Roff::new();
    for (title, text) in ENDINGS {
        rest.control("SH", [title]);
        rest.text([roman(text)]);
    }
    rest.to_writer(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// What `apropos` finds: the program's sentence up to its colon.
fn head(command: &clap::Command) -> Roff {
    let about = command.get_about().unwrap().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{NAME} - {}", about.split_once(':').unwrap().0))]);
    roff
}

/// The lines of the usage, as they are written there.
fn synopsis(command: &clap::Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for (index, line) in usage.trim_start_matches("Usage:").lines().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        roff.text([bold(NAME), roman(line.trim().trim_start_matches(NAME))]);
    }
    roff
}

/// A command's own section: what it is for, and the flags that are not the bridge's as well.
fn section(command: &clap::Command) -> Vec<u8> {
    let known: Vec<_> = Cli::command().get_arguments().map(|it| it.get_id().clone()).collect();
    let own = command.clone().mut_args(|it| {
        let said_above = known.contains(it.get_id()) || it.get_id() == "help";
        it.hide(said_above)
    });
    let mut text = Vec::new();
    let mut head = Roff::new();
    let title = format!("{NAME} {}", command.get_name()).to_uppercase();
    head.control("SH", [title.as_str()]);
    head.text([roman(format!("{}.", command.get_about().unwrap()))]);
    if own.get_arguments().any(|it| it.get_id() == "url") {
        head.text([roman("It takes the flags above, too.")]);
    }
    head.to_writer(&mut text).unwrap();
    let mut flags = Vec::new();
    Man::new(own).render_options_section(&mut flags).unwrap();
    let flags = String::from_utf8(flags).unwrap();
    // The flags follow what the command is for, under its title.
    text.extend(flags.lines().filter(|line| *line != ".SH OPTIONS").flat_map(|line| {
        let mut line = line.replace(".SH ", ".SS ").into_bytes();
        line.push(b'\n');
        line
    }));
    text
}

/// What stands below the flags in the help, line by line.
fn examples(command: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["REFERENCES AND EXAMPLES"]).control("nf", []);
    for line in command.get_after_help().unwrap().to_string().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

/// `text` is what the file holds; with `UPDATE=1` it becomes that.
fn holds(name: &str, text: &str) {
    let path = root().join(name);
    if env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "{name} is not what the command line says: UPDATE=1 cargo test --test it generated"
    );
}

#[test]
fn completions_are_what_the_command_line_says() {
    for (shell, file) in [
        (Shell::Bash, "countersign.bash"),
        (Shell::Zsh, "_countersign"),
        (Shell::Fish, "countersign.fish"),
    ] {
        holds(&format!("deploy/completions/{file}"), &completions(shell));
    }
}

#[test]
fn the_man_page_is_what_the_command_line_says() {
    holds("docs/man/countersign.1", &page());
}

#[test]
fn the_man_page_names_every_flag() {
    let page = page().replace("\\-", "-");
    let command = definition();
    let all = command.get_subcommands().chain([&command]).flat_map(clap::Command::get_arguments);
    for flag in all.filter(|it| !it.is_hide_set()).filter_map(clap::Arg::get_long) {
        assert!(page.contains(&format!("--{flag}")), "--{flag} is not on the page");
    }
}
