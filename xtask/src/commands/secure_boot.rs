//! Command `cargo xtask secure-boot`.

use std::fmt::Write as _;
use std::time::SystemTime;

use camino::Utf8Path;
use netboot_loaders::base::fs;
use netboot_loaders::base::plural::{choose, count};
use netboot_loaders::base::process::quoted;
use netboot_loaders::base::progress::Progress as _;
use netboot_loaders::base::quote::Language;
use netboot_loaders::build_loaders::Config;
use netboot_loaders::config::sites::Options;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::loader::file_kind::{self, FileKind};
use netboot_loaders::loader::signature::{Signatures, remove_signatures};
use netboot_loaders::printable::printable;
use netboot_loaders::secure_boot::{self, FILES, NewKeys, Openssl, signing_files};
use serde_json::json;

use super::real_path;
use crate::cli::{Keys, SecureBootCommand, Sign};
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::program::PUBLISHED;
use netboot_loaders::base::diagnostic::{Class, Flag};

/// Maximum size of a program to sign, in bytes; unified kernel images have 100 MB.
const MAX_PROGRAM: u64 = 192 << 20;

pub(super) fn run(what: &SecureBootCommand, host: &Host<'_>) -> Result<(), Failure> {
    match what {
        SecureBootCommand::Keys(args) => keys(args, host),
        SecureBootCommand::Sign(args) => sign(args, host),
    }
}

/// Signs a program as the project's loaders are signed.
fn sign(args: &Sign, host: &Host<'_>) -> Result<(), Failure> {
    let (file, out) = (absolute(&args.file)?, absolute(&args.out)?);
    let config = Config::read(&host.project, &Options::default(), host.ui)?;
    let Some(secure_boot) = &config.sites.secure_boot else {
        let text = "`[secure-boot]` of embed-scripts/sites.toml names no key of yours".to_owned();
        return Err(Failure::new(Class::BadInput, text).help("add `certificate` and `key`, as the page says"));
    };
    config.sites.ended_certificates(SystemTime::now()).into_iter().for_each(|warning| host.ui.warn(warning));
    if out.symlink_metadata().is_ok() {
        let text = format!("`{}` exists, and nothing is replaced by a signed program", printable(&out));
        return Err(Failure::new(Class::Failure, text).help(Flag::Out));
    }
    let mut content = fs::read_at_most(&file, MAX_PROGRAM)?;
    if !matches!(file_kind::identify(&content), Some((FileKind::EfiApplication, _))) {
        let text = format!(
            "`{}` is {}, wanted {} for UEFI",
            printable(&file),
            file_kind::describe(&content),
            FileKind::EfiApplication
        );
        let help = "name a kernel with an EFI stub, or another EFI application";
        return Err(Failure::new(Class::BadInput, text).help(help));
    }
    let unfit = |problem: String| {
        let text = format!("`{}` is no program for UEFI that can be signed: {problem}", printable(&file));
        Failure::new(Class::BadInput, text).help("name a kernel with an EFI stub, or another EFI application")
    };
    let before = Signatures::of(&content).map_err(unfit)?.signatures.len();
    remove_signatures(&mut content).map_err(unfit)?;
    let (cache, tree) = (host.cache()?, host.project.default_tree());
    let signer = host.signer(Some(secure_boot), config.pins.ipxe.epoch, &tree, &cache)?;
    let Some(signer) = signer else { return Ok(()) };
    let signed = signer.sign(content, host.ui)?;
    fs::write_new_atomic(&out, &signed)?;
    let (by, sha256) = (signer.entry().signer, Sha256Digest::of(&signed));
    let taken = match before {
        0 => String::new(),
        _ => format!("; {} that it had {} taken off", count(before, "signature"), choose(before, "was", "were")),
    };
    let text = format!("{}: signed by {}{taken}\nSHA-256 {sha256}\n", printable(&out), printable(&by));
    host.ui.result(&text, json!({ "path": out, "signer": by, "sha256": sha256, "taken-off": before }));
    Ok(())
}

/// Makes keys, or a new key for loaders.
fn keys(args: &Keys, host: &Host<'_>) -> Result<(), Failure> {
    let folder = absolute(&args.out)?;
    outside_of_project(&folder, host)?;
    let passphrase = args.passphrase_file.as_deref().map(absolute).transpose()?;
    let openssl = Openssl::find(&host.path, passphrase.clone())?;
    let table = table(&folder, passphrase.as_deref(), &args.name)?;
    if args.leaf {
        let kept = secure_boot::renew_leaf(&folder, args.days, &openssl, host.ui)?;
        let old: String = kept.iter().map(|name| format!("  {name:<11} kept from before\n")).collect();
        let text = format!(
            "{folder}: new loader.key and loader.pem below the same authority\n{old}next: copy loader.pem into embed-scripts, and build the \
             loaders again; no machine has to be enrolled again\n"
        );
        host.ui.result(&text, json!({ "folder": folder, "new": ["loader.key", "loader.pem"], "kept": kept }));
        return Ok(());
    }
    let request =
        NewKeys { name: &args.name, days: args.days, further: &args.db, now: SystemTime::now(), wording: &PUBLISHED };
    secure_boot::create(&folder, request, &openssl, host.ui)?;
    let files = FILES.map(|file| json!({ "name": file.name, "secret": file.secret, "purpose": file.purpose }));
    host.ui.result(&summary(&folder, args, &table), json!({ "folder": folder, "files": files, "table": table }));
    Ok(())
}

/// Refuses a folder in a project: its files get into archives and repositories.
fn outside_of_project(folder: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let project = host.project.root();
    let is_inside = host.project.pins().exists() && real_path(folder).starts_with(real_path(project));
    if !is_inside {
        return Ok(());
    }
    let text = format!(
        "`{}` is in the project `{}`, where keys end up in a repository",
        printable(folder),
        printable(project)
    );
    Err(Failure::new(Class::Failure, text).help(Flag::Out))
}

/// Returns the table for `sites.toml`, for loaders of `owner`.
fn table(folder: &Utf8Path, passphrase: Option<&Utf8Path>, owner: &str) -> Result<String, Failure> {
    let (key, certificate) = signing_files(folder);
    let certificate = certificate.file_name().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    let plain: String =
        owner.chars().map(|c| if is_plain(c) { c.to_ascii_lowercase() } else { '-' }).take(63).collect();
    let plain = Some(plain.trim_matches('-')).filter(|plain| !plain.is_empty()).unwrap_or("loaders");
    let passphrase = passphrase.map(|path| ("passphrase-file", path.as_str()));
    let named = [("certificate", certificate), ("sbat-name", plain), ("key", key.as_str())];
    let mut table = "[secure-boot]\n".to_owned();
    for (name, value) in named.into_iter().chain(passphrase) {
        let value = Language::DoubleQuoted.quote(value);
        let value = value.map_err(|error| Failure::new(Class::Failure, error.to_string()).help(Flag::Out))?;
        let _ = writeln!(table, "{name} = {value}");
    }
    Ok(table)
}

fn summary(folder: &Utf8Path, args: &Keys, table: &str) -> String {
    let mut text = format!("{folder}: keys of the authority `{}`\n", args.name);
    for file in FILES {
        let _ = writeln!(text, "  {:<11} {:<7} {}", file.name, if file.secret { "SECRET" } else { "" }, file.purpose);
    }
    let (_, certificate) = signing_files(folder);
    let _ = writeln!(
        text,
        "next: `cp {} embed-scripts/`, and add this to embed-scripts/sites.toml:",
        quoted(certificate.as_str())
    );
    for line in table.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text + "then enrol a machine as README.txt says\n\
            keep ca.key where nothing is built or served; only a new loader.key needs it\n"
}
