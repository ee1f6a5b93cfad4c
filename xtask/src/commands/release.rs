//! Command `cargo xtask release`.

use std::fmt::Write as _;

use netboot_loaders::base::fs::Temporary;
use netboot_loaders::base::paths::{self, ReleaseNames};
use netboot_loaders::base::process::{Command, find_program};
use netboot_loaders::build_loaders::{BuildRequest, Config, build_loaders, fetch};
use netboot_loaders::config::sites::Options;
use netboot_loaders::fetch::source_bundle::BundleInputs;
use netboot_loaders::release::{self, Release, ReleaseInputs};
use netboot_loaders::tree::verify;
use serde_json::json;

use super::docs::MdBook;
use super::install;
use crate::cli;
use crate::exit::Failure;
use crate::host::{Host, absolute, github_environment, temporary_folder};
use crate::program::PUBLISHED;
use crate::ui::size;
use netboot_loaders::base::diagnostic::Class;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn run(args: &cli::ReleaseArgs, host: &Host<'_>) -> Result<(), Failure> {
    let wanted = format!("v{VERSION}");
    if let Some(tag) = args.tag.as_ref().filter(|tag| **tag != wanted) {
        let text = format!("the tag is `{tag}`, wanted `{wanted}`");
        let help = "set the version in Cargo.toml, or push the tag of the version";
        return Err(Failure::new(Class::BadInput, text).help(help));
    }
    let release = match &args.files {
        Some(folder) => release::check(&absolute(folder)?, host.ui)?,
        None => write(args, host)?,
    };
    let drafted = if args.dry_run { None } else { Some(draft(&release, &wanted, host)?) };
    let mut text = format!("the release is in {}\n", release.folder);
    for (name, (digest, bytes)) in &release.files {
        let _ = writeln!(text, "  {digest}  {:>10}  {name}", size(*bytes));
    }
    match &drafted {
        Some(address) => {
            let _ = writeln!(text, "and a draft at {address}\nnext: read it, and publish it there");
        }
        None => text += "nothing is published\n",
    }
    let files: serde_json::Map<_, _> =
        release.files.iter().map(|(name, (digest, _))| (name.clone(), json!(digest))).collect();
    host.ui.result(&text, json!({ "folder": release.folder, "files": files, "draft": drafted }));
    Ok(())
}

/// Builds the tree and writes all files of the release.
fn write(args: &cli::ReleaseArgs, host: &Host<'_>) -> Result<Release, Failure> {
    let config = Config::read(&host.project, &Options::default(), host.ui)?;
    // The book comes before the build, which takes minutes.
    let mdbook = MdBook::find_pinned(args.install_deps, host)?;
    if args.install_deps {
        install::missing(&config.needs(), host)?;
    }
    // In a folder of its own, which nobody else renders to meanwhile.
    let book = Temporary::create(&temporary_folder()?, paths::TEMPORARY)?;
    mdbook.render(book.path(), host)?;
    let (cache, pins) = (host.cache()?, config.pins.clone());
    let (origins, settings) = (host.origins(&args.origins)?, host.settings(&args.make)?);
    // The sources are part of the release, even if no loader has to be built.
    fetch(&pins, &cache, &origins, host.ui)?;
    let (references, secure_boot) = (config.references.clone(), config.sites.secure_boot.clone());
    let plan = config.plan(&host.path, &cache, host.ui)?;
    let tree = host.project.default_tree();
    let signer = host.signer(secure_boot.as_ref(), plan.inputs.pins.ipxe.epoch, &tree, &cache)?;
    let request = BuildRequest {
        project: &host.project,
        tree: &tree,
        pack: true,
        replace: args.replace,
        update_baseline: false,
        references: &references,
        signer: signer.as_ref(),
    };
    let built = build_loaders(&host.context(&plan, &cache, &origins, &settings), &request)?;
    let folder = args.out.as_deref().map_or_else(|| Ok(host.project.default_release()), absolute)?;
    let Some((packed, digest, _)) = &built.archive else {
        return Err(Failure::new(Class::Failure, "the tree was not packed"));
    };
    let manifest = verify::manifest(&built.tree, host.ui).map_err(release::Error::from)?;
    let sources = BundleInputs { project: &host.project, pins: &pins, cache: &cache };
    let inputs = ReleaseInputs { sources, manifest: &manifest, packed: (packed, *digest), book: book.path() };
    Ok(release::write(inputs, &folder, &PUBLISHED, host.ui)?)
}

/// Creates a draft of the release and returns its address.
fn draft(release: &Release, tag: &str, host: &Host<'_>) -> Result<String, Failure> {
    if find_program("gh", &host.path).is_none() {
        return Err(Failure::new(Class::MissingTool, "found no `gh`, which makes the draft")
            .help("install GitHub's command line program, or write the files alone with `--dry-run`"));
    }
    let notes = release.folder.join(ReleaseNames::new(VERSION).notes);
    let files = release.files.keys().map(|name| release.folder.join(name)).filter(|file| *file != notes);
    let title = format!("netboot-loaders {VERSION}");
    let mut command = Command::new("make a draft release", "gh")
        .args(["release", "create", tag, "--draft", "--verify-tag", "--title", &title, "--notes-file", notes.as_str()])
        .args(files.map(camino::Utf8PathBuf::into_string));
    // `gh` takes the repository and the token from the environment.
    command.env.extend(github_environment());
    command.dir = Some(host.project.root().to_owned());
    command.deadline = std::time::Duration::from_secs(1800);
    let lines = command.env("PATH", host.path.as_str()).output(host.ui)?;
    Ok(lines.last().cloned().unwrap_or_default())
}
