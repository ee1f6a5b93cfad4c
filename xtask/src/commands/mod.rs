//! Commands, one file each.

mod bench;
mod boot_test;
mod build_loaders;
mod bundle_bases;
mod bundle_sources;
mod check;
mod clean;
mod completions;
mod deploy;
mod docs;
mod doctor;
mod fetch;
mod fuzz;
mod guests;
mod help;
mod ignition;
mod inspect;
mod install;
mod lint;
mod linters;
mod mirror;
mod prepare;
mod recipe;
mod rehearse;
mod release;
mod reproduce;
mod secure_boot;
mod test;
mod update;
mod verify;

use std::io::{BufReader, Read as _};
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs;
use netboot_loaders::printable::printable;
use netboot_loaders::stamp::tarball::{Limits, Tarball};
use netboot_loaders::tree::enclosing::{below_no_tree, outside_trees};

use crate::cli::{DocsArgs, OutputKind, XtaskCommand};
use crate::exit::Failure;
use crate::host::{Host, absolute};
use netboot_loaders::base::diagnostic::Class;

/// Runs `command` and returns the exit code if it succeeds.
pub fn run(command: XtaskCommand, host: &Host<'_>) -> Result<ExitCode, Failure> {
    for output in command.outputs() {
        if let Some(path) = &output.path {
            check_output(&absolute(path)?, output.kind, host)?;
        }
    }
    if needs_project(&command) {
        check_project(host)?;
    }
    let done = match command {
        XtaskCommand::BuildLoaders(args) => build_loaders::run(&args, host),
        XtaskCommand::Fetch(args) => fetch::run(&args, host),
        XtaskCommand::BundleSources { out, origins } => bundle_sources::run(out.as_deref(), &origins, host),
        XtaskCommand::BundleBases(args) => bundle_bases::run(&args, host),
        XtaskCommand::Update(args) => update::run(args, host),
        XtaskCommand::Mirror { what } => return mirror::run(&what, host),
        XtaskCommand::Clean(args) => clean::run(&args, host),
        XtaskCommand::Doctor(args) => doctor::run(&args, host),
        XtaskCommand::Verify(args) => verify::run(&args, host),
        XtaskCommand::Inspect(args) => inspect::run(&args, host),
        XtaskCommand::Ignition(args) => ignition::run(&args, host),
        XtaskCommand::Recipe(args) => recipe::run(&args, host),
        XtaskCommand::Release(args) => release::run(&args, host),
        XtaskCommand::Reproduce(args) => reproduce::run(&args, host),
        XtaskCommand::Lint(args) => lint::run(&args, host),
        XtaskCommand::Rehearse(args) => rehearse::run(&args, host),
        XtaskCommand::BootTest(args) => boot_test::run(&args, host),
        XtaskCommand::SecureBoot { what } => secure_boot::run(&what, host),
        XtaskCommand::Deploy(args) => deploy::run(&args, host),
        XtaskCommand::Test(args) => test::run(&args, host),
        XtaskCommand::Check(args) => check::run(&args, host),
        XtaskCommand::Bench { what } => bench::run(&what, host),
        XtaskCommand::Docs(args) => docs::run(&args, host),
        XtaskCommand::Fuzz(args) => fuzz::run(&args, host),
        XtaskCommand::Help { names } => help::run(&names, host),
        XtaskCommand::Completions { shell } => completions::run(shell),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Checks whether `command` needs a project.
fn needs_project(command: &XtaskCommand) -> bool {
    use XtaskCommand as C;
    matches!(
        command,
        C::BuildLoaders(_)
            | C::Fetch(_)
            | C::BundleSources { .. }
            | C::BundleBases(_)
            | C::Update(_)
            | C::Ignition(_)
            | C::Recipe(_)
            | C::Release(_)
            | C::Rehearse(_)
            | C::Reproduce(_)
            | C::Test(_)
            | C::Check(_)
            | C::Docs(DocsArgs { man: None, .. })
    )
}

fn check_project(host: &Host<'_>) -> Result<(), Failure> {
    if fs::entry_exists(&host.project.pins())? {
        return Ok(());
    }
    let text = format!("`{}` is not a project folder: it has no `vendor/pins.toml`", printable(host.project.root()));
    let help = "give the one that has `vendor/` and `embed-scripts/` with `--project`";
    Err(Failure::new(Class::BadInput, text).help(help))
}

/// Maximum length of a name in a file system, in bytes.
const MAX_NAME: usize = 255;

/// Maximum length of an output's name, in bytes, since a file beside it may be called `.NAME.next-journal`.
const MAX_OUTPUT_NAME: usize = MAX_NAME - ".".len() - ".next-journal".len();

/// Checks that a folder can exist at `path`, whose own name has at most `longest` bytes.
fn check_place(path: &Utf8Path, longest: usize) -> Result<(), Failure> {
    let refuse = |text: String, help: &str| Err(Failure::new(Class::Failure, text).help(help));
    for (path, most) in path.ancestors().zip(std::iter::once(longest).chain(std::iter::repeat(MAX_NAME))) {
        let name = path.file_name().unwrap_or_default();
        if name.len() > most {
            let found = name.len();
            let text = format!("the name `{}` has {found} bytes, wanted {most} at most", printable(name));
            return refuse(text, "choose a shorter name");
        }
        if path.is_symlink() && !path.exists() {
            let target = path.read_link_utf8().unwrap_or_default();
            let text = format!("`{}` is a link that leads nowhere, to `{}`", printable(path), printable(&target));
            return refuse(text, "make what it leads to, or remove the link");
        }
    }
    Ok(())
}

/// Checks that writing to `path` replaces nothing but the output of an earlier command.
fn check_output(path: &Utf8Path, kind: OutputKind, host: &Host<'_>) -> Result<(), Failure> {
    check_place(path, MAX_OUTPUT_NAME)?;
    if kind == OutputKind::Tree { below_no_tree(path) } else { outside_trees(path) }?;
    let refuse = |found: String, remedy: &str| {
        Err(Failure::new(Class::Failure, format!("cannot write to `{}`: {found}", printable(path))).help(remedy))
    };
    if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return refuse(
            "found a device, a FIFO or a socket".into(),
            "give the path of a file or folder, or none for the default",
        );
    }
    outside_inputs(path, host)?;
    match kind {
        OutputKind::Text(beginning) => check_file(path, |path| is_text(path, beginning)),
        OutputKind::Tarball(beginning, part) => check_file(path, |path| Ok(is_tarball(path, beginning, part))),
        OutputKind::Tree | OutputKind::Place => Ok(()),
    }
}

/// Checks that `path` is not in a folder with inputs of the build, or in the cache.
fn outside_inputs(path: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let real = real_path(path);
    let own = host.project.vendor_and_config_dirs().into_iter().chain(host.cache_folder());
    match own.filter_map(|folder| folder.canonicalize_utf8().ok()).find(|folder| real.starts_with(folder)) {
        Some(folder) => {
            let (path, folder) = (printable(path), printable(&folder));
            let text = format!("cannot write to `{path}`: `{folder}` holds inputs of the build or the cache");
            Err(Failure::new(Class::Failure, text).help("choose a folder outside"))
        }
        None => Ok(()),
    }
}

/// Checks that the file at `path` is empty or the command's own, if there is one. Through a link, such as `/dev/stdout`, it
/// would be another one that is replaced, or the link itself.
fn check_file(path: &Utf8Path, is_own: impl Fn(&Utf8Path) -> Result<bool, fs::Error>) -> Result<(), Failure> {
    let refuse = |found: String, remedy: &str| {
        Err(Failure::new(Class::Failure, format!("cannot write to `{}`: found {found}", printable(path))).help(remedy))
    };
    if path.is_symlink() {
        let found = format!("a symbolic link to `{}`", printable(&path.read_link_utf8().unwrap_or_default()));
        return refuse(found, "name the file itself");
    }
    if path.is_dir() {
        return refuse("a folder, wanted the path of a file".into(), "name a file in it");
    }
    if path.as_str().ends_with('/') {
        return refuse("a slash at its end, wanted the path of a file".into(), "leave the slash out");
    }
    if !fs::exists(path)? || path.metadata().is_ok_and(|metadata| metadata.len() == 0) || is_own(path)? {
        return Ok(());
    }
    refuse("a file that this command has not written".into(), "name another file, or remove this one")
}

/// Checks whether the file at `path` begins with `beginning`.
fn is_text(path: &Utf8Path, beginning: &str) -> Result<bool, fs::Error> {
    let mut content = Vec::new();
    let read = fs::open(path)?.take(beginning.len() as u64).read_to_end(&mut content);
    read.map_err(|error| fs::Error::new("read", path, error))?;
    Ok(content == beginning.as_bytes())
}

/// Checks whether the file at `path` is a tarball whose first entry has a path that begins with `beginning`, and has
/// `part` behind that.
fn is_tarball(path: &Utf8Path, beginning: &str, part: &str) -> bool {
    const LIMITS: Limits = Limits { entries: 1, extension: 0, entry: 1 << 30, total: 1 << 30 };
    let Ok(file) = fs::open(path) else { return false };
    let mut tarball = Tarball::gzip(BufReader::new(file), LIMITS);
    let first = tarball.entries().and_then(|mut entries| entries.next());
    let is_ours = |path: &str| path.strip_prefix(beginning).is_some_and(|rest| rest.contains(part));
    first.is_ok_and(|first| first.is_some_and(|entry| is_ours(entry.path.as_str())))
}

/// Returns `path` without symbolic links, as far as it exists.
fn real_path(path: &Utf8Path) -> Utf8PathBuf {
    let real = |above: &Utf8Path| Some(above.canonicalize_utf8().ok()?.join(path.strip_prefix(above).ok()?));
    path.ancestors().find_map(real).unwrap_or_else(|| path.to_owned())
}
