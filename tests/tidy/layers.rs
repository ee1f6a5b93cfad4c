//! Layers of the library: an ordered list of folders, each of which may use only those above it in the list, and no
//! import cycles anywhere.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{LIBRARY, sources};

/// The folders and files of `crates/netboot_core/src/` and `src/`, from the bottom layer up. Each may use only
/// entries before it.
const LAYERS: &[&str] = &[
    "base",
    "loader",
    "config",
    "toolchain",
    "fetch",
    "tree",
    "build",
    "publish",
    "reproduce",
    "inspect",
    "lint",
    "release",
    "html_page",
    "serve",
    "boot_test",
    "rehearse",
    "deploy",
    "mirror",
    "secure_boot",
    "update",
    "clean",
    "build_loaders",
    "bundle_bases",
];

/// A module: its path in the crate, its file, and its text.
struct Module {
    path: String,
    file: String,
    text: String,
}

impl Module {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), file: format!("src/{}.rs", path.replace("::", "/")), text: text.to_owned() }
    }
}

/// Use of one module by another, with its line.
struct Import {
    line: usize,
    to: String,
}

/// Returns the modules of the shipped library.
fn library() -> Vec<Module> {
    let of_tests = |file: &str| ["tests", "samples"].iter().any(|name| file.ends_with(&format!("/{name}.rs")));
    let module = |(file, text): (String, String)| {
        let (_, path) = file.split_once("src/").unwrap();
        let path = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        Module { path, file, text }
    };
    let files = LIBRARY.into_iter().take(2).flat_map(sources);
    files.filter(|(file, _)| !of_tests(file) && !file.ends_with("src/lib.rs")).map(module).collect()
}

/// Reads the imports from the tokens of a module: `use` items, and paths that begin with `crate`, `self`, `super` or
/// the name of a child module.
struct Reader<'m> {
    module: &'m Module,
    known: &'m BTreeSet<&'m str>,
    imports: Vec<Import>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_for_tests(&tokens[at..]) {
                at += item_length(&tokens[at..]);
                continue;
            }
            // `mod x;` is not an import.
            let begins = at == 0
                || !is_punct(&tokens[at - 1], ':')
                    && !is_punct(&tokens[at - 1], '.')
                    && tokens[at - 1].to_string() != "mod";
            match &tokens[at] {
                // `pub(in crate::x)` is not an import.
                TokenTree::Ident(word) if word == "pub" && matches!(tokens.get(at + 1), Some(TokenTree::Group(_))) => {
                    at += 2;
                }
                TokenTree::Ident(_) if begins => at += self.path(&tokens[at..], &[]),
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Reads a path that follows `prefix`, with its braces. Returns its number of tokens.
    fn path(&mut self, tokens: &[TokenTree], prefix: &[String]) -> usize {
        let (mut path, mut at) = (prefix.to_vec(), 0);
        while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
            path.push(ident.to_string());
            at += 1;
            if !tokens[at..].iter().take(2).all(|token| is_punct(token, ':')) || tokens.len() < at + 2 {
                break;
            }
            at += 2;
            if let Some(TokenTree::Group(group)) = tokens.get(at).filter(|token| is_braced(token)) {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punct(token, ',')) {
                    self.path(part, &path);
                }
                return at + 1;
            }
        }
        if let (Some(to), Some(first)) = (self.resolve(&path), tokens.first()) {
            self.imports.push(Import { line: first.span().start().line, to });
        }
        at.max(1)
    }

    /// Returns the module that `path` refers to, if it is another module of the library.
    fn resolve(&self, path: &[String]) -> Option<String> {
        let own: Vec<&str> = self.module.path.split("::").collect();
        let supers = path.iter().take_while(|part| *part == "super").count();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (&own[..], &path[1..]),
            "super" => (&own[..own.len().checked_sub(supers)?], &path[supers..]),
            first if self.known.contains(format!("{}::{first}", self.module.path).as_str()) => (&own[..], path),
            _ => return None,
        };
        let full: Vec<&str> = base.iter().copied().chain(rest.iter().map(String::as_str)).collect();
        let found = (1..=full.len()).rev().map(|length| full[..length].join("::"));
        let found = found.into_iter().find(|path| self.known.contains(path.as_str()))?;
        (found != self.module.path).then_some(found)
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_braced(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// Checks whether `#[cfg(test)]` or `#[cfg(doc)]` is at the start of `tokens`.
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(group), ..] = tokens else { return false };
    let text = group.stream().to_string().replace(' ', "");
    is_punct(hash, '#') && ["cfg(test)", "cfg(doc)"].contains(&text.as_str())
}

/// Returns the number of tokens of the item that begins here: up to a semicolon or a body in braces.
fn item_length(tokens: &[TokenTree]) -> usize {
    tokens.iter().position(|token| is_punct(token, ';') || is_braced(token)).map_or(tokens.len(), |last| last + 1)
}

/// Returns the imports of each module.
fn imports(modules: &[Module]) -> BTreeMap<&str, Vec<Import>> {
    let known: BTreeSet<&str> = modules.iter().map(|module| module.path.as_str()).collect();
    let read = |module| {
        let mut reader = Reader { module, known: &known, imports: Vec::new() };
        reader.read(module.text.parse().unwrap());
        (module.path.as_str(), reader.imports)
    };
    modules.iter().map(read).collect()
}

/// Returns the index of a module's layer.
fn layer(path: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| path.split("::").next() == Some(layer))
}

/// Returns the imports that violate the order of the layers, as readable lines.
fn upward(modules: &[Module]) -> Vec<String> {
    let imports = imports(modules);
    let wrong = modules.iter().flat_map(|module| {
        let own = layer(&module.path).unwrap_or_else(|| panic!("{} belongs to no layer", module.file));
        let wrong = imports[module.path.as_str()].iter().filter(move |import| layer(&import.to) > Some(own));
        wrong.map(|import| format!("{}:{}: uses `{}`, which is a later layer", module.file, import.line, import.to))
    });
    wrong.collect()
}

/// Returns the imports that are part of a cycle, as readable lines.
fn circles(modules: &[Module]) -> Vec<String> {
    let imports = imports(modules);
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(path) = waiting.pop() {
            for import in imports.get(path.as_str()).into_iter().flatten() {
                if import.to == to {
                    return true;
                }
                if seen.insert(import.to.clone()) {
                    waiting.push(import.to.clone());
                }
            }
        }
        false
    };
    let wrong = modules.iter().flat_map(|module| {
        let on_circle = imports[module.path.as_str()].iter().filter(|import| reaches(&import.to, &module.path));
        on_circle.map(|import| format!("{}:{}: uses `{}`, which uses it, too", module.file, import.line, import.to))
    });
    wrong.collect()
}

/// Returns the names of types that more than one file exports.
fn ambiguous(files: &[(String, String)]) -> Vec<String> {
    let mut shown: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in files {
        for name in shown_types(text.parse().unwrap()) {
            shown.entry(name).or_default().insert(file);
        }
    }
    let twice = shown.into_iter().filter(|(name, files)| files.len() > 1 && name != "Error" && name != "Result");
    twice
        .map(|(name, files)| format!("`{name}` is in {}", files.into_iter().collect::<Vec<_>>().join(" and ")))
        .collect()
}

/// Returns the names of the types that a file exports.
fn shown_types(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if is_for_tests(&tokens[at..]) {
            at += item_length(&tokens[at..]);
            continue;
        }
        let rest = &tokens[at + 1..];
        if tokens[at].to_string() == "pub" {
            let rest = if matches!(rest.first(), Some(TokenTree::Group(_))) { &rest[1..] } else { rest };
            if let [kind, TokenTree::Ident(name), ..] = rest
                && ["struct", "enum", "trait", "type"].contains(&kind.to_string().as_str())
            {
                found.push(name.to_string());
            }
        }
        at += 1;
    }
    found
}

#[test]
fn no_layer_uses_a_later_one() {
    assert_eq!(upward(&library()), [""; 0]);
}

#[test]
fn no_imports_go_in_a_circle() {
    assert_eq!(circles(&library()), [""; 0]);
}

#[test]
fn every_layer_is_there() {
    let modules = library();
    for layer in LAYERS {
        assert!(modules.iter().any(|module| module.path.split("::").next() == Some(layer)), "there is no {layer}");
    }
}

#[test]
fn a_public_type_has_its_name_for_itself() {
    let files: Vec<_> = LIBRARY.into_iter().chain(["xtask/src", "fixtures/src"]).flat_map(sources).collect();
    assert_eq!(ambiguous(&files), [""; 0]);
}

#[test]
fn what_is_put_in_on_purpose_is_found() {
    let wrong = [
        Module::new("base::fs", "//! A\n\nuse std::io;\nuse crate::{base::url, tree::manifest::{self, Kind}};\n"),
        Module::new("base::url", "fn a() { println!(\"{}\", super::fs::b()) }"),
        Module::new("tree", "mod manifest;\npub use self::manifest::Kind;"),
        Module::new("tree::manifest", "#[cfg(test)]\nmod tests { use crate::build; }\nuse super::Other;"),
        Module::new("build", "pub mod make;\nfn a() { make::b() }\n// crate::update\n"),
        Module::new("build::make", "/// [`crate::update`]\nfn b() { crate::tree::c() }"),
        Module::new("update", "pub(in crate::update) struct A;"),
    ];
    assert_eq!(upward(&wrong), ["src/base/fs.rs:4: uses `tree::manifest`, which is a later layer"; 2]);
    assert_eq!(
        circles(&wrong),
        [
            "src/base/fs.rs:4: uses `base::url`, which uses it, too",
            "src/base/url.rs:1: uses `base::fs`, which uses it, too",
            "src/tree.rs:2: uses `tree::manifest`, which uses it, too",
            "src/tree/manifest.rs:3: uses `tree`, which uses it, too",
        ]
    );
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = [
        file("a.rs", "pub struct Place; struct Private; pub enum Error {}"),
        file("b.rs", "pub(super) trait Place {} struct Private; pub enum Error {}"),
        file("c.rs", "#[cfg(test)] mod tests { pub struct Place; } #[cfg(test)] pub struct Place;"),
    ];
    assert_eq!(ambiguous(&files), ["`Place` is in a.rs and b.rs"]);
}
