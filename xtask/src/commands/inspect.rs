//! Command `cargo xtask inspect`.

use netboot_loaders::base::plural::count;
use std::fmt::Write as _;
use std::io::ErrorKind;

use netboot_loaders::base::fs;
use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::build::reference_builds::ReferenceBuild;
use netboot_loaders::build_loaders;
use netboot_loaders::config::trust::day;
use netboot_loaders::inspect::{Inspection, KnownLoader, inspect, trees_above, unusable};
use netboot_loaders::loader::file_kind::FileKind;
use netboot_loaders::loader::linked_objects::{LinkedObjects, ObjectClass};
use netboot_loaders::loader::signature::{Signature, Signatures, SigningCertificate, microsofts_machines};
use netboot_loaders::printable::printable;
use serde_json::{Value, json};

use crate::cli::Inspect;
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::program::name;
use crate::ui::size;
use netboot_loaders::base::diagnostic::Class;

/// Maximum number of SBAT levels to show.
const MAX_LEVELS: usize = 20;

/// Width of a list, in characters.
const WIDTH: usize = 66;

pub(super) fn run(args: &Inspect, host: &Host<'_>) -> Result<(), Failure> {
    let path = absolute(&args.loader)?;
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let text = format!("there is no loader `{}`", printable(&args.loader));
        let help = format!("give the path of one; `{} build-loaders` builds them", name());
        return Err(Failure::new(Class::DamagedTree, text).help(help));
    }
    if path.is_dir() {
        let help = format!(
            "give one loader, as in `{}`; `{} verify` takes trees and tarballs",
            printable(&args.loader.join("ipxe.efi")),
            name()
        );
        let text = format!("`{}` is a folder, wanted a loader", printable(&args.loader));
        return Err(Failure::new(Class::DamagedTree, text).help(help));
    }
    let project = host.project.clone();
    let known = detached_on_cancel(host.ui, move || ReferenceBuild::read_all(&project));
    let known = known.ok_or(build_loaders::Error::Cancelled)?.map_err(build_loaders::Error::from)?;
    let candidates = match &args.manifest {
        Some(manifest) if !fs::exists(manifest)? => {
            let text = format!("there is no manifest `{manifest}`");
            return Err(Failure::new(Class::DamagedTree, text).help("give a tree or its manifest.json"));
        }
        Some(manifest) => {
            let manifest = absolute(manifest)?;
            if let Some(reason) = unusable(&manifest) {
                let text = format!("`{}` is no manifest that can be read: {reason}", printable(&manifest));
                return Err(Failure::new(Class::DamagedTree, text).help("give a tree or its manifest.json"));
            }
            vec![manifest]
        }
        None => trees_above(&path).chain([host.project.default_tree()]).collect(),
    };
    let found = inspect(&path, &candidates, &known, host.ui)?;
    if host.ui.cancelled() {
        return Err(Failure::new(Class::Interrupted, "interrupted"));
    }
    if matches!(found.identity, None | Some((FileKind::Text, _))) {
        let text = format!("`{}` is {}, wanted a loader", args.loader, kind(&found));
        let help = format!("give one loader; `{} verify` takes trees and tarballs", name());
        return Err(Failure::new(Class::DamagedTree, text).help(help));
    }
    host.ui.answer(&text(args, &found), object(&found));
    Ok(())
}

fn text(args: &Inspect, found: &Inspection) -> String {
    let mut text = format!("{}\n", args.loader);
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "  {key:<11}{value}");
    };
    line("kind", &kind(found));
    line("size", &format!("{} ({})", size(found.size as u64), count(found.size, "byte")));
    line("sha256", &found.sha256.to_string());
    line(
        "version",
        &found.facts.version.as_ref().map_or_else(|| "not found in its bytes".to_owned(), |it| format!("iPXE {it}")),
    );
    match &found.signatures {
        Some(Ok(signatures)) => describe(signatures, &mut line),
        Some(Err(problem)) => line("signed", &format!("not known: {problem}")),
        None => {}
    }
    for SigningCertificate { subject, not_after, sha256, .. } in &found.vendor_certificates {
        let (subject, until) = (printable(subject), day(*not_after));
        line("starts", &format!("what {subject} has signed, until {until}, certificate {}", sha256.short()));
    }
    match &found.known {
        Some(known) => line("manifest", &sentence(known)),
        None => line("manifest", "no manifest that was looked at knows these bytes"),
    }
    if !found.toolchains.is_empty() {
        line("toolchain", &format!("matches the reference build for {}", found.toolchains.join(" and ")));
    }
    match linked(found) {
        Some(linked) => {
            for (class, key) in CLASSES {
                let names: Vec<&str> = linked.names(class).map(|name| short(class, name)).collect();
                line(key, &wrapped(&names));
            }
        }
        None if found.known.as_ref().is_some_and(|known| known.file.ipxe.is_none()) => {
            line("contents", "not listed: it was not built here");
        }
        None => line("contents", "not known: only a tree with this loader has the list of what is linked into it"),
    }
    if let Some(script) = &found.facts.script {
        text += "embedded script\n";
        text.extend(script.lines().map(|line| format!("  | {line}\n")));
    }
    text
}

/// Describes the signatures of an EFI application by a `line` for each part.
fn describe(signatures: &Signatures, line: &mut impl FnMut(&str, &str)) {
    if signatures.signatures.is_empty() {
        line("signed", "no");
    }
    for signature in &signatures.signatures {
        match signature {
            Ok(Signature { chain }) => {
                for (number, certificate) in chain.iter().enumerate() {
                    let SigningCertificate { subject, sha256, not_after, .. } = certificate;
                    let key = if number == 0 { "signed by" } else { "issued by" };
                    let (subject, until) = (printable(subject), day(*not_after));
                    line(key, &format!("{subject}, until {until}, certificate {}", sha256.short()));
                }
            }
            Err(problem) => line("signed", &format!("by a signature that does not hold: {problem}")),
        }
    }
    let all = signatures.signatures.iter().flatten().flat_map(|it| &it.chain);
    if let Some(machines) = microsofts_machines(all) {
        line("trusted", &format!("by machines {machines}"));
    }
    line("covered", &format!("{} (SHA-256 by Authenticode)", signatures.digest));
    let mut levels = signatures.sbat.iter().flat_map(|text| text.lines());
    for level in levels.by_ref().take(MAX_LEVELS) {
        line("sbat", &printable(level).to_string());
    }
    let more = levels.count();
    if more > 0 {
        line("sbat", &format!("and {}", count(more, "more line")));
    }
}

fn signatures(found: &Result<Signatures, String>) -> Value {
    let certificate = |it: &SigningCertificate| json!({ "subject": it.subject, "issuer": it.issuer, "until": day(it.not_after), "sha256": it.sha256 });
    let signature = |it: &Result<Signature, String>| match it {
        Ok(Signature { chain }) => json!({ "chain": chain.iter().map(certificate).collect::<Vec<_>>() }),
        Err(problem) => json!({ "problem": problem }),
    };
    match found {
        Ok(Signatures { digest, signatures, sbat }) => {
            json!({ "digest": digest, "signatures": signatures.iter().map(signature).collect::<Vec<_>>(), "sbat": sbat })
        }
        Err(problem) => json!({ "problem": problem }),
    }
}

/// Listed classes of objects, with their headings.
const CLASSES: [(ObjectClass, &str); 4] = [
    (ObjectClass::Feature, "features"),
    (ObjectClass::Command, "commands"),
    (ObjectClass::Protocol, "protocols"),
    (ObjectClass::Driver, "drivers"),
];

fn linked(found: &Inspection) -> Option<&LinkedObjects> {
    found.known.as_ref()?.linked.as_ref()
}

fn kind(found: &Inspection) -> String {
    match found.identity {
        Some((kind, Some(arch))) => format!("{kind} for {arch}"),
        Some((kind, None)) => kind.to_string(),
        None => "an unrecognised file".to_owned(),
    }
}

fn sentence(known: &KnownLoader) -> String {
    let mut text = format!("{} in {}", known.file.path, known.manifest);
    if let Some(ipxe) = &known.file.ipxe {
        let _ = write!(text, ", {} with {}", ipxe.target, ipxe.script);
    }
    if let Some(configuration) = &known.configuration {
        let _ = write!(text, ", configuration `{configuration}`");
    }
    text
}

/// Returns a path without the prefix that all objects of its class share.
fn short(class: ObjectClass, name: &str) -> &str {
    let common = if class == ObjectClass::Protocol { "net/" } else { "drivers/" };
    name.strip_prefix(common).unwrap_or(name)
}

fn wrapped(names: &[&str]) -> String {
    let mut text = format!("{}:", names.len());
    let mut width = text.len();
    for name in names {
        if width + name.len() >= WIDTH {
            text += "\n             ";
            width = 0;
        }
        text += " ";
        text += name;
        width += name.len() + 1;
    }
    text
}

fn object(found: &Inspection) -> Value {
    let contents = linked(found).map(|linked| {
        let lists = ObjectClass::ALL.map(|class| (class.as_str(), json!(linked.names(class).collect::<Vec<_>>())));
        lists.into_iter().map(|(word, names)| (format!("{word}s"), names)).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "sha256": found.sha256,
        "size": found.size,
        "kind": found.identity.map(|(kind, _)| kind),
        "arch": found.identity.and_then(|(_, arch)| arch),
        "version": found.facts.version,
        "script": found.facts.script,
        "manifest": found.known.as_ref().map(|known| json!({
            "path": known.manifest, "file": known.file, "configuration": known.configuration,
        })),
        "toolchains": found.toolchains,
        "signatures": found.signatures.as_ref().map(signatures),
        "contents": contents,
    })
}
