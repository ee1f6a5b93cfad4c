//! Finds the scripts in files, folders, trees and loaders, and on web servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_script::syntax::count_words;
use netboot_script::{MAGICS, ScriptPlatform};

use super::contents::{LintBuild, platform_of};
use super::request::{Error, LintPlace, LintRequest, MAX_WORDS};
use crate::base::fs::{self, EntryKind, MAX_TEXT};
use crate::base::http::NetworkAccess;
use crate::base::parallel;
use crate::base::paths::MANIFEST;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::fetch::download::{DownloadUrl, download};
use crate::inspect::trees_above;
use crate::loader::facts::LoaderFacts;
use crate::loader::file_kind::{self, FileKind};
use crate::loader::linked_objects::LinkedObjects;
use crate::loader::target::{Loader, Platform};
use crate::tree::manifest::{Manifest, ManifestEntry};

/// Maximum number of builds of a tree to remember: as many as a few configurations have.
const MAX_BUILDS: usize = 64;

/// Receives each script, or why it is none, and decides whether to go on.
type Receiver<'r> = &'r mut dyn FnMut(Result<FoundScript, Error>) -> Result<(), Error>;

/// Number of bytes of a file from which it is recognised as a script.
const HEAD: usize = 4096;

/// Endings of names of templates that can become a script.
const TEMPLATES: [&str; 9] = ["erb", "gotmpl", "in", "j2", "jinja", "jinja2", "template", "tmpl", "tpl"];

/// A script that was found.
#[derive(Debug)]
pub(super) struct FoundScript {
    /// Its name, as messages show it.
    pub name: String,
    pub text: String,
    /// Whether it is read as it is, because it was in a loader.
    pub embedded: bool,
    /// The build that runs it, if that is known.
    pub build: Option<LintBuild>,
}

/// Finds the scripts of `request`, and passes each to `receive`.
pub(super) fn find(request: &LintRequest<'_>, progress: &dyn Progress, receive: Receiver<'_>) -> Result<(), Error> {
    for place in &request.places {
        match place {
            LintPlace::Web(url) => receive(of_web(url, request, progress))?,
            LintPlace::Path(path) if path.is_dir() => of_folder(path, progress, receive)?,
            LintPlace::Path(path) => receive(of_file(path, progress))?,
        }
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}

/// Reads the script at the address `url`.
fn of_web(url: &Url, request: &LintRequest<'_>, progress: &dyn Progress) -> Result<FoundScript, Error> {
    let name = url.to_string();
    let NetworkAccess::Online(http) = request.network else { return Err(Error::Offline(name)) };
    let file = request.scratch.join("script");
    let address = DownloadUrl { url, remedy: "download it by other means, and give the file".into() };
    download(http, &address, &file, MAX_TEXT, progress)?;
    let content = fs::read_text(&file)?;
    let text = text(&name, content)?;
    Ok(FoundScript { name, text, embedded: false, build: None })
}

/// Reads the file `path`: a script, or a loader with one.
fn of_file(path: &Utf8Path, progress: &dyn Progress) -> Result<FoundScript, Error> {
    if !fs::entry_exists(path)? {
        return Err(Error::NotThere(path.to_owned()));
    }
    let mut head = Vec::new();
    read_head(path, &mut head)?;
    let kind = file_kind::identify(&head).map(|(kind, _)| kind);
    if matches!(kind, Some(FileKind::EfiApplication | FileKind::IpxeNbp | FileKind::LinuxKernel)) {
        return of_loader(path, progress);
    }
    let content = fs::read_at_most(path, MAX_TEXT);
    let content =
        content.map_err(|error| if error.is_too_large() { Error::TooLarge(path.to_owned()) } else { error.into() })?;
    let text = text(path.as_str(), content)?;
    Ok(FoundScript { name: path.to_string(), text, embedded: false, build: None })
}

fn read_head(path: &Utf8Path, head: &mut Vec<u8>) -> Result<(), fs::Error> {
    use std::io::Read as _;
    let file = fs::open(path)?;
    let read = file.take(HEAD as u64).read_to_end(head);
    read.map(|_| ()).map_err(|error| fs::Error::new("read", path, error))
}

/// Decodes a script, whose comments can be in another encoding than UTF-8.
fn text(name: &str, content: Vec<u8>) -> Result<String, Error> {
    let begins = MAGICS.iter().any(|magic| content.starts_with(magic.as_bytes()));
    // Text in UTF-16 and programs have such bytes from the start; a script may have lost one on its way.
    if !begins && content.iter().take(HEAD).any(|byte| *byte == 0) {
        return Err(Error::Binary { name: name.to_owned(), found: file_kind::describe(&content) });
    }
    let text = String::from_utf8(content);
    checked(name, text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Returns the script `text` unless it has too many words.
fn checked(name: &str, text: String) -> Result<String, Error> {
    if count_words(&text) > MAX_WORDS { Err(Error::TooManyWords(name.to_owned())) } else { Ok(text) }
}

/// Reads the script in the loader `path`, and what its tree says about it.
fn of_loader(path: &Utf8Path, progress: &dyn Progress) -> Result<FoundScript, Error> {
    let content = Arc::new(fs::read(path)?);
    let digest = crate::digest::Sha256Digest::of(&content);
    let is_bios = !matches!(file_kind::identify(&content), Some((FileKind::EfiApplication, _)));
    let facts = parallel::detached_on_cancel(progress, move || LoaderFacts::of(&content)).unwrap_or_default();
    let Some(text) = facts.script else {
        return Err(if progress.cancelled() { Error::Cancelled } else { Error::NoScript(path.to_owned()) });
    };
    let name = format!("{path} (embedded script)");
    let text = checked(&name, text)?;
    let of_tree = absolute(path).and_then(|path| {
        trees_above(&path).find_map(|tree| {
            let manifest = read_manifest(&tree.join(MANIFEST))?;
            let entry = manifest.files.iter().find(|entry| entry.sha256 == digest)?;
            build_of(&tree, &manifest, entry)
        })
    });
    let usual =
        || LintBuild { platform: if is_bios { ScriptPlatform::Bios } else { ScriptPlatform::Efi }, contents: None };
    Ok(FoundScript { name, text, embedded: true, build: Some(of_tree.unwrap_or_else(usual)) })
}

fn absolute(path: &Utf8Path) -> Option<Utf8PathBuf> {
    path.canonicalize_utf8().ok()
}

fn read_manifest(path: &Utf8Path) -> Option<Manifest> {
    Manifest::parse(&fs::read(path).ok()?).ok()
}

/// Returns the build of the loader `entry`, if the tree lists what is linked into it.
fn build_of(tree: &Utf8Path, manifest: &Manifest, entry: &ManifestEntry) -> Option<LintBuild> {
    let ipxe = entry.ipxe.as_ref()?;
    let mut configurations = manifest.configurations.iter();
    let configuration = &configurations.find(|configuration| configuration.sha256 == ipxe.configuration)?.name;
    let linked = LinkedObjects::read(&tree.join(ipxe.linked_list(configuration)?)).ok()?;
    let loader = Loader::of_target(&ipxe.target)?;
    let platform = platform_of(loader.platform(), ipxe.target != loader.target());
    let name = format!("`{}` of the configuration `{configuration}`", loader.as_str());
    Some(LintBuild::of(name, platform, &linked))
}

/// Adds the scripts below the folder `root`. Symbolic links are not followed.
fn of_folder(root: &Utf8Path, progress: &dyn Progress, receive: Receiver<'_>) -> Result<(), Error> {
    let mut found = 0;
    let entries = fs::walk_with(root, progress)?;
    let (mut links, mut special) = (0, 0);
    for (relative, kind) in &entries {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let path = root.join(relative);
        if *kind != EntryKind::File {
            let count = if path.is_symlink() { &mut links } else { &mut special };
            *count += 1;
            continue;
        }
        if is_script(&path)? {
            receive(of_file(&path, progress))?;
            found += 1;
        }
    }
    if let Some(manifest) = read_manifest(&root.join(MANIFEST)) {
        found += of_tree(root, &manifest, progress, receive)?;
    }
    if found == 0 {
        let files = entries.len() - links - special;
        return Err(Error::NoneIn { folder: root.to_owned(), files, links, special });
    }
    Ok(())
}

/// Checks by its name, and by its beginning, whether the file `path` is a script or a template of one.
fn is_script(path: &Utf8Path) -> Result<bool, fs::Error> {
    let template = path.extension().is_some_and(|ending| TEMPLATES.contains(&ending));
    let stem = path.file_stem().map(Utf8Path::new);
    if path.extension() == Some("ipxe") || template && stem.and_then(Utf8Path::extension) == Some("ipxe") {
        return Ok(true);
    }
    let mut head = Vec::new();
    read_head(path, &mut head)?;
    let head = String::from_utf8_lossy(&head);
    Ok(begins(&head, template))
}

/// Checks whether a text begins as a script, in a `template` after statements.
fn begins(head: &str, template: bool) -> bool {
    let mut rest = head.trim_start_matches('\u{feff}');
    loop {
        if MAGICS.iter().any(|magic| rest.starts_with(magic)) {
            return true;
        }
        let part =
            [("{%", "%}"), ("{#", "#}"), ("{{", "}}"), ("<%", "%>")].iter().find(|(open, _)| rest.starts_with(open));
        let Some((_, after)) = part.filter(|_| template).and_then(|(_, close)| rest.split_once(close)) else {
            return false;
        };
        rest = after.trim_start();
    }
}

/// Passes on the scripts that are embedded in the loaders of a tree: each once for each build that runs it. Returns their
/// number.
fn of_tree(
    root: &Utf8Path,
    manifest: &Manifest,
    progress: &dyn Progress,
    receive: Receiver<'_>,
) -> Result<usize, Error> {
    let mut builds: BTreeMap<_, Option<LintBuild>> = BTreeMap::new();
    let mut found = 0;
    for entries in entries_by_script(manifest) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let content = fs::read(&root.join(&entries[0].path))?;
        let facts = parallel::detached_on_cancel(progress, move || LoaderFacts::of(&content)).unwrap_or_default();
        let Some(text) = facts.script else { continue };
        let text = match checked(&format!("{} (embedded script)", root.join(&entries[0].path)), text) {
            Ok(text) => text,
            Err(error) => {
                receive(Err(error))?;
                found += 1;
                continue;
            }
        };
        for entry in entries {
            let Some(ipxe) = &entry.ipxe else { continue };
            if builds.len() > MAX_BUILDS {
                builds.clear();
            }
            let build = builds.entry((&ipxe.target, ipxe.configuration));
            let build = build.or_insert_with(|| build_of(root, manifest, entry)).clone();
            let name = format!("{} (embedded script)", root.join(&entry.path));
            receive(Ok(FoundScript { name, text: text.clone(), embedded: true, build }))?;
            found += 1;
        }
    }
    Ok(found)
}

/// Returns the loaders of a tree that have the same script together, each once for each build. The first of them needs no
/// unpacking, if there is any such.
fn entries_by_script(manifest: &Manifest) -> Vec<Vec<&ManifestEntry>> {
    let mut seen = BTreeMap::new();
    for entry in manifest.files.iter().filter(|entry| !entry.kind.is_medium()) {
        let Some(ipxe) = &entry.ipxe else { continue };
        let key = (ipxe.slot_sha256, ipxe.target.clone(), ipxe.configuration);
        seen.entry(key).or_insert(entry);
    }
    let packed = |entry: &ManifestEntry| {
        let loader = entry.ipxe.as_ref().and_then(|ipxe| Loader::of_target(&ipxe.target));
        loader.is_none_or(|loader| !Platform::holds_script_verbatim(loader.platform()))
    };
    let order = |entry: &ManifestEntry| (packed(entry), entry.path.clone());
    let mut scripts: BTreeMap<_, Vec<&ManifestEntry>> = BTreeMap::new();
    for ((slot, ..), entry) in seen {
        scripts.entry(slot).or_default().push(entry);
    }
    let mut scripts: Vec<_> = scripts.into_values().collect();
    for entries in &mut scripts {
        entries.sort_by_cached_key(|entry| order(entry));
    }
    scripts.sort_by_cached_key(|entries| order(entries[0]));
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_told_by_their_beginning() {
        for (head, template) in [
            ("#!ipxe\n", false),
            ("\u{feff}#!ipxe\n", false),
            ("{% if a %}\n#!ipxe\n", true),
            ("{{/* a */}}#!ipxe\n", true),
            ("<%# a -%>\n<% b %>#!gpxe\n", true),
        ] {
            assert!(begins(head, template), "{head}");
        }
        for head in ["", "{% if a %}\n#!ipxe\n", "shell\n", "\n#!ipxe"] {
            assert!(!begins(head, false), "{head}");
        }
        assert!(!begins("{% if a", true));
    }
}
