//! Who may know whom: every path from one module of the crate to another is on the list in
//! docs/ARCHITECTURE.md, the list holds nothing else, and nowhere do modules go round in circles.
//!
//! A module and its own parts may know each other; a folder's parts among themselves may not form
//! a cycle, at any depth, re-exports of the parent looked through.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{
    blocks, files,
    references::{self, Path, References},
    root,
};

/// An edge with the file it was found in.
type Edge = (String, String);

/// The crate's sources by module, without those of tests; its root is `lib`.
struct Crate(BTreeMap<Path, References>);

impl Crate {
    /// Reads the sources of this crate.
    fn ours() -> Self {
        let src = root().join("src");
        let sources = files(&src).into_iter().map(|path| {
            let relative = path.strip_prefix(&src).unwrap().with_extension("");
            let module: Path = relative.iter().map(|part| part.to_str().unwrap().into()).collect();
            (module, fs::read_to_string(path).unwrap())
        });
        Self::new(sources)
    }

    fn new(sources: impl Iterator<Item = (Path, String)>) -> Self {
        let read = sources.map(|(module, text)| {
            // The root's own paths start at the root.
            let at: &[String] = if module == ["lib"] { &[] } else { &module };
            let references = references::of(at, &text);
            (module, references)
        });
        let mut modules: BTreeMap<Path, References> = read.collect();
        let tests: Vec<Path> = modules.values().flat_map(|found| found.tests.clone()).collect();
        modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self(modules)
    }

    /// The edges between top-level modules, as they are written.
    fn edges(&self) -> BTreeSet<Edge> {
        let mut edges = BTreeSet::new();
        for (module, found) in &self.0 {
            for target in found.paths.iter().filter_map(|path| path.first()) {
                let known = self.0.contains_key(std::slice::from_ref(target));
                if known && *target != module[0] && module != &["lib"] {
                    edges.insert((module[0].clone(), target.clone()));
                }
            }
        }
        edges
    }

    /// The module that a path leads to, through the names that modules on the way re-export.
    fn target(&self, path: &[String]) -> Option<Path> {
        let mut path = path.to_vec();
        // More re-exports of re-exports would be a finding of their own.
        for _ in 0..8 {
            let depth =
                (1..=path.len()).rev().find(|depth| self.0.contains_key(&path[..*depth]))?;
            let next = path.get(..=depth).and_then(|name| {
                self.0[&path[..depth]].names.iter().find(|(named, _)| named == name)
            });
            match next {
                Some((_, meant)) => path = [meant, &path[depth + 1..]].concat(),
                None => return Some(path[..depth].to_vec()),
            }
        }
        None
    }

    /// For each folder, what its parts know of each other.
    fn among_siblings(&self) -> BTreeMap<Path, BTreeMap<String, BTreeSet<String>>> {
        let mut graphs: BTreeMap<Path, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (module, found) in self.0.iter().filter(|(module, _)| *module != &["lib"]) {
            for target in found.paths.iter().filter_map(|path| self.target(path)) {
                let shared = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                // A module and what it is made of are one.
                if let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) {
                    let graph = graphs.entry(module[..shared].to_vec()).or_default();
                    graph.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        graphs
    }

    /// The cycles, each as the path it takes.
    fn cycles(&self) -> Vec<String> {
        let mut cycles = Vec::new();
        for (folder, graph) in self.among_siblings() {
            if let Some(cycle) = cycle(&graph) {
                let names: Vec<String> = cycle
                    .iter()
                    .map(|part| [folder.as_slice(), std::slice::from_ref(part)].concat().join("::"))
                    .collect();
                cycles.push(names.join(" -> "));
            }
        }
        cycles
    }
}

/// A cycle of `graph`, its first part repeated at the end.
fn cycle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit<'a>(
        part: &'a String,
        graph: &'a BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<&'a String>,
        done: &mut BTreeSet<&'a String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|earlier| *earlier == part) {
            return Some(way[start..].iter().copied().chain([part]).cloned().collect());
        }
        if !done.insert(part) {
            return None;
        }
        way.push(part);
        let found =
            graph.get(part).into_iter().flatten().find_map(|next| visit(next, graph, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|part| visit(part, graph, &mut Vec::new(), &mut done))
}

/// The rows of the list: `who -> whom, whom`.
fn listed(text: &str) -> BTreeSet<Edge> {
    let (_, section) = text.split_once("\n## Who may know whom\n").unwrap();
    let (_, list) = blocks(section, "```text")[0];
    let mut edges = BTreeSet::new();
    for row in list.lines() {
        let (from, to) =
            row.split_once("->").unwrap_or_else(|| panic!("no row of the list: {row}"));
        for to in to.split(',').map(str::trim).filter(|to| *to != "nothing") {
            edges.insert((from.trim().to_owned(), to.to_owned()));
        }
    }
    edges
}

fn show(edges: &BTreeSet<Edge>, but: &BTreeSet<Edge>) -> Vec<String> {
    edges.difference(but).map(|(from, to)| format!("{from} -> {to}")).collect()
}

#[test]
fn modules_know_whom_the_list_names_and_nobody_else() {
    let listed = listed(&fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap());
    let found = Crate::ours().edges();
    let forbidden = show(&found, &listed);
    assert!(
        forbidden.is_empty(),
        "not on the list in docs/ARCHITECTURE.md, \"Who may know whom\": {forbidden:?}"
    );
    let stale = show(&listed, &found);
    assert!(stale.is_empty(), "on the list in docs/ARCHITECTURE.md, but not so: {stale:?}");
}

#[test]
fn modules_form_no_cycles() {
    let cycles = Crate::ours().cycles();
    assert!(cycles.is_empty(), "modules know each other in circles: {cycles:#?}");
}

mod tests {
    use super::*;

    fn made_of(sources: &[(&str, &str)]) -> Crate {
        Crate::new(sources.iter().map(|(module, text)| {
            (module.split('/').map(str::to_owned).collect(), (*text).to_owned())
        }))
    }

    #[test]
    fn an_edge_is_found_wherever_it_is_written() {
        let found = made_of(&[
            ("lib", "pub mod a; pub mod b; pub mod c; pub use a::A;"),
            ("a", "mod part;"),
            ("a/part", "fn f() -> crate::b::B { deep!({ crate::c::d() }) }"),
            ("b", "use std::fmt; use b::own;"),
            ("c", "// crate::a\nuse super::b;"),
        ]);
        let edges = show(&found.edges(), &BTreeSet::new());
        assert_eq!(edges, ["a -> b", "a -> c", "c -> b"]);
        let list = "\n## Who may know whom\n\n```text\na -> b\nb -> nothing\nc -> b, a\n```\n";
        assert_eq!(show(&found.edges(), &listed(list)), ["a -> c"]);
        assert_eq!(show(&listed(list), &found.edges()), ["c -> a"]);
    }

    #[test]
    fn a_cycle_is_found_at_any_depth() {
        for (sources, expected) in [
            (&[("a", "use crate::b;"), ("b", "use crate::a;")][..], "a -> b -> a"),
            // Not between files, but between what they belong to.
            (
                &[("a", ""), ("a/x", "use crate::b;"), ("b", ""), ("b/y", "use crate::a;")],
                "a -> b -> a",
            ),
            (
                &[
                    ("a", ""),
                    ("a/x", "use super::y::Y;"),
                    ("a/y", "use super::{z, W};"),
                    ("a/z", "fn f() { super::x::f() }"),
                ],
                "a::x -> a::y -> a::z -> a::x",
            ),
            // Through a name that the parent hands on.
            (
                &[
                    ("a", "pub use self::x::X; use y::{Y as Why};"),
                    ("a/x", "use super::Why;"),
                    ("a/y", "use super::X;"),
                ],
                "a::x -> a::y -> a::x",
            ),
        ] {
            assert_eq!(made_of(sources).cycles(), [expected]);
        }
    }

    #[test]
    fn a_module_and_its_parts_are_no_cycle() {
        let whole = made_of(&[
            ("a", "mod x; mod y; use self::x::X; struct A;"),
            ("a/x", "use super::A; use crate::a::y::Y;"),
            ("a/y", "use super::*;"),
        ]);
        assert_eq!(whole.cycles(), [""; 0]);
    }
}
