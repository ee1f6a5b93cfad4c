//! Command `cargo xtask verify`.

use netboot_loaders::base::plural::{all, choose, count};
use netboot_loaders::printable::{listed, listed_names, listed_of, printable};
use std::fmt::Write as _;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs::{self, world_readable};
use netboot_loaders::base::progress::Progress;
use netboot_loaders::build::check_cache;
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::pins::Pins;
use netboot_loaders::config::sites::Options;
use netboot_loaders::config::trust::day;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::loader::signature::{SigningCertificate, microsofts_machines};
use netboot_loaders::reproduce::against_make::{self, MakeComparison};
use netboot_loaders::reproduce::cause::CauseKind;
use netboot_loaders::tree::open::{self, CheckedTree};
use netboot_loaders::tree::verify::{self, DemandedSigner, VerifyReport};
use serde_json::json;

use super::reproduce::located;
use crate::cli::Verify;
use crate::exit::Failure;
use crate::host::{Host, temporary_folder};
use crate::program::name;
use netboot_loaders::base::diagnostic::{Class, Diagnostic, Page};

/// Maximum number of paths to list, and of warnings to print.
const SHOWN: usize = 20;

pub(super) fn run(args: &Verify, host: &Host<'_>) -> Result<(), Failure> {
    let path = host.tree(args.path.as_deref())?;
    if args.against_make { against_make(args, &path, host) } else { against_manifest(args, path, host) }
}

/// Maximum size of a certificate's file in bytes; a typical one has 2,000.
const MAX_CERTIFICATE: u64 = 64 << 10;

/// Reads the first certificate in `file`.
fn certificate(file: &Utf8Path) -> Result<SigningCertificate, Failure> {
    let content = fs::read_at_most(file, MAX_CERTIFICATE)?;
    let several = String::from_utf8_lossy(&content).matches("-----BEGIN CERTIFICATE-----").count() > 1;
    SigningCertificate::read(&content).filter(|_| !several).ok_or_else(|| {
        let found = if several { "has several certificates" } else { "is no certificate" };
        Failure::new(Class::BadInput, format!("`{file}` {found}, wanted one in PEM or DER"))
            .help("look at it with `openssl x509`")
    })
}

/// SHA-256 of `syslinux.efi` in the release of syslinux 6.03. A tree of another project can be verified anywhere.
const SYSLINUX_EFI: &str = "83199a7aa0e92e157302486bb9df0eb03e33c055254f2ab61d0daa578b5a75e8";

/// Returns the digests of the syslinux files that nobody signs: those that the project pins, if there is one.
fn unsigned(host: &Host<'_>) -> Vec<Sha256Digest> {
    let pinned = Pins::read(&host.project).map(|pins| pins.syslinux.members).unwrap_or_default();
    pinned.into_iter().map(|member| member.sha256).chain(SYSLINUX_EFI.parse()).collect()
}

fn against_manifest(args: &Verify, path: Utf8PathBuf, host: &Host<'_>) -> Result<(), Failure> {
    let demanded = args.signer.as_deref().map(certificate).transpose()?;
    let demanded = demanded.map(|certificate| DemandedSigner { certificate, unsigned: unsigned(host) });
    let report = verify::verify_signed(&path, demanded.as_ref(), host.ui).map_err(open::Error::from)?;
    for file in report.interfering_files.iter().take(SHOWN) {
        host.ui.warn(file.warning());
    }
    if !report.differences.is_empty() {
        let is_whole = || verify::verify(&path, host.ui).is_ok_and(|report| report.differences.is_empty());
        if let Some(DemandedSigner { certificate, .. }) = demanded.as_ref().filter(|_| is_whole()) {
            let (subject, found) = (printable(&certificate.subject), listed(&report.differences));
            let text = format!("`{path}` is as in its manifest, but not signed by `{subject}`\n{found}");
            let failure =
                Failure::new(Class::DamagedTree, text).help("give the certificate that its loaders are signed with");
            return Err(failure.help("sign them with that one").page(Page::VerifyAndInspect));
        }
        return Err(open::Error::Different { path, differences: report.differences }.into());
    }
    if let Some(unreadable) = &report.unreadable {
        host.ui.warn(world_readable::unreadable_warning(unreadable));
    }
    if let Some(DemandedSigner { certificate, .. }) = demanded.as_ref().filter(|_| report.checked == 0) {
        let subject = &certificate.subject;
        let text = format!("`{path}` has no program for UEFI, wanted some that `{}` has signed", printable(subject));
        return Err(Failure::new(Class::Check, text));
    }
    let media = report.manifest.files.iter().filter(|file| file.kind.is_medium() && demanded.is_some());
    for medium in media.take(SHOWN) {
        let message = format!("the loaders on `{}` are not looked at", printable(&medium.path));
        host.ui.warn(Diagnostic::new(message).help("unpack it, and inspect them"));
    }
    let signed = signers(&report, host);
    let (files, others) = (report.manifest.files.len(), report.others);
    let besides = match others.len() {
        0 => ", and nothing else is there".to_owned(),
        1 => format!("; 1 other file is not of this tree: {}", listed_names(&others)),
        count => format!("; {count} other files are not of this tree: {}", listed_names(&others)),
    };
    host.ui.result(
        &format!("{path}: {} {} as in the manifest{besides}\n{signed}", all(files, "file"), choose(files, "is", "are")),
        json!({ "path": path, "files": files, "others": others.len(), "other-files": others, "signer": report.manifest.secure_boot }),
    );
    Ok(())
}

/// Returns a line about each signer of the tree's files; warns if a certificate has ended.
fn signers(report: &VerifyReport, host: &Host<'_>) -> String {
    let mut text = String::new();
    // Firmware takes the signatures of a downloaded set all the same, and no user can have others made.
    let has_set = report.manifest.files.iter().any(|file| file.set.is_some());
    let is_own = |sha256| report.manifest.secure_boot.as_ref().is_some_and(|it| it.certificate_sha256 == sha256);
    for SigningCertificate { subject, issuer, not_after, sha256, .. } in &report.signers {
        let (subject, issuer, until) = (printable(subject), printable(issuer), day(*not_after));
        let _ =
            writeln!(text, "signed by {subject}, issued by {issuer}, until {until}, certificate {}", sha256.short());
        if *not_after < SystemTime::now() && (!has_set || is_own(*sha256)) {
            let message = format!("the certificate of `{subject}`, which has signed loaders, was valid until {until}");
            host.ui.warn(Diagnostic::new(message).help("ask whoever signed them for new ones"));
        }
    }
    if let Some(machines) = microsofts_machines(report.signers.iter()) {
        let _ = writeln!(text, "what Microsoft has signed there starts on machines {machines}");
    }
    text
}

fn against_make(args: &Verify, path: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let tree = CheckedTree::open(path, &temporary_folder()?, host.ui)?;
    let config = Config::read(&host.project, &Options::from(&args.config), host.ui)?;
    let (cache, origins, settings) = (host.cache()?, host.origins(&args.origins)?, host.settings(&args.make)?);
    check_cache(&cache).map_err(build_loaders::Error::from)?;
    let plan = config.plan(&host.path, &cache, host.ui)?;
    let context = host.context(&plan, &cache, &origins, &settings);
    let seed = args.seed.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| u64::from(since.subsec_nanos()))
    });
    let comparison = against_make::check(&context, &tree, args.sample as usize, seed)?;
    let MakeComparison { sites, loaders, unknown, differences, causes, causes_total } = &comparison;
    if *unknown > 0 {
        let message = format!(
            "`{path}` has {} that the configuration does not have, and nobody asks make about {}",
            count(*unknown, "loader"),
            choose(*unknown, "it", "these")
        );
        let help = "name the inventories that it was built with, as `--sites racks.csv`";
        host.ui.warn(Diagnostic::new(message).help(help));
    }
    let what = format!(
        "{} of {} of {} (seed {seed})",
        count(*loaders, "loader"),
        sites.len(),
        count(plan.sites().count(), "site")
    );
    if !differences.is_empty() {
        let details = json!({ "path": path, "loaders": loaders, "sites": sites, "seed": seed, "differences": differences, "causes": causes, "causes-total": causes_total });
        host.ui.result("", details);
        return Err(differs(path, &what, &comparison, seed));
    }
    host.ui.result(
        &format!("{path}: {what} {} what make gives, byte for byte\n", choose(*loaders, "is", "are")),
        json!({ "path": path, "loaders": loaders, "sites": sites, "seed": seed }),
    );
    Ok(())
}

/// Returns a failure with the differences and their possible causes. As in plain `verify`, `found` is what the tree
/// contains; `wanted` is what make builds.
fn differs(path: &Utf8Path, what: &str, comparison: &MakeComparison, seed: u64) -> Failure {
    let MakeComparison { differences, causes, causes_total, .. } = comparison;
    let number = differences.len();
    let mut text = format!("of {what}, {number} {} from what make builds\n", choose(number, "differs", "differ"));
    for (path, difference) in differences {
        text += &format!("`{path}`\n{}", located(difference));
    }
    let tools = causes.iter().any(|cause| cause.sort == CauseKind::Toolchain);
    let (they, were) = (choose(number, "it", "they"), choose(number, "was", "were"));
    let mut help = Vec::new();
    text += &match (causes.is_empty(), tools) {
        (true, _) => {
            help.push(format!(
                "serve nothing of `{path}`: build it again with `{} build-loaders`, and find out who wrote there",
                name()
            ));
            format!(
                "the manifest names the same tools and inputs as make has here, so {they} {were} changed after the build"
            )
        }
        (false, true) => {
            "the tree was built with other tools, which may be the reason; a change after the build may be one, too"
                .to_owned()
        }
        (false, false) => {
            "the tree was built from other inputs, which may be the reason; a change after the build may be one, too"
                .to_owned()
        }
    };
    if !causes.is_empty() {
        text += &format!("\n{}", listed_of(causes, *causes_total));
        let made_same = if tools { "with the tools that found names" } else { "with the inputs that found names" };
        help.push(format!("compare again {made_same}: what differs then was changed"));
    }
    help.push(format!("ask about the same loaders again with `--seed {seed}`"));
    let class = if tools { Class::OtherToolchain } else { Class::OtherBytes };
    help.into_iter().fold(Failure::new(class, text).page(Page::VerifyAndInspect), Failure::help)
}
