//! Which modules of the crate a source speaks of, read from its tokens: comments and strings are
//! not among them, and what a macro is given is. Tests are left out, since they play the caller.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module, or a path, from the crate's root.
pub(super) type Path = Vec<String>;

/// What a source says of the crate's modules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    /// Every path into the crate, from its root: `use` declarations and paths in code.
    pub(super) paths: Vec<Path>,
    /// What `use` declarations bring into scope: the module and name here, and the path it is.
    pub(super) names: Vec<(Path, Path)>,
    /// The files that are compiled for tests only.
    pub(super) tests: Vec<Path>,
}

/// The references of `source`, the text of `module`.
pub(super) fn of(module: &[String], source: &str) -> References {
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{module:?}: {error}"));
    let mut found = References::default();
    walk(tokens, module, &mut found);
    found
}

fn walk(tokens: TokenStream, module: &[String], found: &mut References) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(hash) if hash.as_char() == '#' && for_tests(tokens.get(at + 1)) => {
                at += 2;
                skip_item(&tokens, &mut at, module, found);
            }
            TokenTree::Ident(word) if word == "mod" => {
                // An inline module: what follows stands one deeper.
                if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at + 1..] {
                    let inner = [module, &[name.to_string()]].concat();
                    walk(body.stream(), &inner, found);
                    at += 2;
                }
                at += 1;
            }
            TokenTree::Ident(word) if word == "use" => {
                at += 1;
                let mut declared = Vec::new();
                read_tree(&tokens, &mut at, Vec::new(), &mut declared);
                for (path, name) in declared {
                    let path = from_root(module, &path);
                    found.names.push(([module, &[name]].concat(), path.clone()));
                    found.paths.push(path);
                }
            }
            TokenTree::Ident(word) if is_start(&word.to_string()) && colons(&tokens, at + 1) => {
                let mut mentioned = Vec::new();
                read_tree(&tokens, &mut at, Vec::new(), &mut mentioned);
                found.paths.extend(mentioned.iter().map(|(path, _)| from_root(module, path)));
            }
            TokenTree::Group(group) => {
                walk(group.stream(), module, found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether an attribute is `[cfg(test)]`.
fn for_tests(attribute: Option<&TokenTree>) -> bool {
    attribute
        .is_some_and(|group| group.to_string().replace(char::is_whitespace, "") == "[cfg(test)]")
}

/// Passes over the item at `at`; a module in a file of its own is noted.
fn skip_item(tokens: &[TokenTree], at: &mut usize, module: &[String], found: &mut References) {
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token {
            TokenTree::Ident(word) if word == "mod" => {
                if let [TokenTree::Ident(name), TokenTree::Punct(_), ..] = &tokens[*at..] {
                    found.tests.push([module, &[name.to_string()]].concat());
                }
            }
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(end) if matches!(end.as_char(), ';' | ',') => return,
            _ => {}
        }
    }
}

/// Whether a path that starts with `word` leads into the crate; the binary knows it by its name.
fn is_start(word: &str) -> bool {
    matches!(word, "crate" | "self" | "super" | "countersign")
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

/// Reads a path, or a tree of them in braces, from `at` on: each with the name it goes by.
fn read_tree(
    tokens: &[TokenTree],
    at: &mut usize,
    mut path: Path,
    found: &mut Vec<(Path, String)>,
) {
    loop {
        match tokens.get(*at) {
            // `use ::name` is another crate's.
            Some(TokenTree::Punct(_)) if path.is_empty() && colons(tokens, *at) => return,
            Some(TokenTree::Ident(word)) => {
                path.push(word.to_string());
                *at += 1;
                if colons(tokens, *at) {
                    *at += 2;
                    continue;
                }
                let mut name = path.last().cloned().unwrap_or_default();
                if name == "self" && path.len() > 1 {
                    path.pop();
                    name = path.last().cloned().unwrap_or_default();
                }
                if let [TokenTree::Ident(word), TokenTree::Ident(alias), ..] = &tokens[*at..]
                    && word == "as"
                {
                    name = alias.to_string();
                    *at += 2;
                }
                found.push((path, name));
                return;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let comma =
                    |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
                for branch in inner.split(comma).filter(|branch| !branch.is_empty()) {
                    read_tree(branch, &mut 0, path.clone(), found);
                }
                *at += 1;
                return;
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                *at += 1;
                found.push((path, "*".to_owned()));
                return;
            }
            // Generic arguments, or the end: the walk goes on from here.
            _ => {
                if !path.is_empty() {
                    found.push((path, String::new()));
                }
                return;
            }
        }
    }
}

/// `path`, as `module` says it, from the crate's root. A path that starts with none of the words
/// of [`is_start`] begins in the module itself, or is another crate's: then it names no module.
fn from_root(module: &[String], path: &[String]) -> Path {
    let mut base = module.to_vec();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        match first.as_str() {
            "crate" | "countersign" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        rest = after;
    }
    base.extend_from_slice(rest);
    base
}

mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let module = ["a".to_owned(), "b".to_owned()];
        of(&module, source).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn every_way_to_say_a_path_is_read() {
        for (source, expected) in [
            ("use crate::x::Y;", &["x::Y"][..]),
            ("pub(crate) use crate::x::{self, y::{Z, *}};", &["x", "x::y::Z", "x::y"]),
            ("use crate::{x::Y as Z, w};", &["x::Y", "w"]),
            ("use super::c::D;", &["a::c::D"]),
            ("use self::d::E;", &["a::b::d::E"]),
            ("mod tests { use super::*; use super::super::c::D; }", &["a::b", "a::c::D"]),
            ("fn f() { crate::x::y(super::c::D) }", &["x::y", "a::c::D"]),
            ("fn f() { other!(1, crate::x::y::<super::Z>()) }", &["x::y", "a::Z"]),
            ("macro_rules! m { () => { $crate::x::y() } }", &["x::y"]),
            ("use countersign::{cli, app};", &["cli", "app"]),
            ("impl crate::x::Y for Z { fn f(&self) -> Self { self.g() } }", &["x::Y"]),
        ] {
            assert_eq!(paths(source), expected, "{source}");
        }
    }

    #[test]
    fn comments_strings_and_other_crates_are_none() {
        for source in [
            "// use crate::x;\n/* crate::x */ fn f() {}",
            "//! [`crate::x`]\nfn f() { g(\"crate::x\", r#\"use crate::x;\"#) }",
            "use ::x::y;",
            "pub(crate) fn f() {} pub(super) fn g() {}",
            "#[cfg(test)] mod tests { use crate::x; } #[cfg(test)]\n#[path = \"z\"] use crate::y;",
        ] {
            assert_eq!(paths(source), [""; 0], "{source}");
        }
    }

    #[test]
    fn what_follows_a_test_is_read_again() {
        assert_eq!(paths("#[cfg(test)] fn f() { crate::x() } use crate::y;"), ["y"]);
        assert_eq!(paths("#[cfg(test)] use a::{b}; use crate::y;"), ["y"]);
        let found = of(&["a".to_owned()], "#[cfg(test)] pub(super) mod pki; mod x;");
        assert_eq!(found.tests, [vec!["a".to_owned(), "pki".to_owned()]]);
    }

    #[test]
    fn names_are_known_by_what_they_are() {
        let found = of(&["a".to_owned()], "pub use self::c::D as E;");
        assert_eq!(
            found.names,
            [(vec!["a".into(), "E".into()], vec!["a".into(), "c".into(), "D".into()])]
        );
    }
}
